"""Why a model or a prompt is not taken."""


class ModelRefused(Exception):
    """The model cannot be served as it was meant; the message is one line for an operator."""


class PromptRefused(Exception):
    """The model's template does not take these messages; the message is for the client."""
