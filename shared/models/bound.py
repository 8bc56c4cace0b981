"""An upper bound of a prompt's tokens from its bytes, known before it is encoded."""


def prompt_bound(
    context: int, expand: int, per_message: int, fixed: int, text_bytes: int, messages: int
) -> int:
    """The most tokens that a prompt can have: what a reservation is made for.

    `text_bytes`: UTF-8 bytes of all text given to the template, names included. `context`, `expand`,
    `per_message` and `fixed` are the manifest's. A prompt that has more is an alarm and never served.
    """
    return min(context, expand * text_bytes + per_message * messages + fixed)
