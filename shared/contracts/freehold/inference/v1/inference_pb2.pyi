from shared.contracts.freehold.edge.v1 import request_pb2 as _request_pb2
from shared.contracts.freehold.platform.v1 import outcome_pb2 as _outcome_pb2
from shared.contracts.freehold.platform.v1 import pulse_pb2 as _pulse_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[_pulse_pb2.ServedModel]
    def __init__(self, models: _Optional[_Iterable[_Union[_pulse_pb2.ServedModel, _Mapping]]] = ...) -> None: ...

class GetLoadRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetLoadResponse(_message.Message):
    __slots__ = ("load",)
    LOAD_FIELD_NUMBER: _ClassVar[int]
    load: _pulse_pb2.WorkerLoad
    def __init__(self, load: _Optional[_Union[_pulse_pb2.WorkerLoad, _Mapping]] = ...) -> None: ...

class GenerateRequest(_message.Message):
    __slots__ = ("model", "prompt_ids", "max_output", "sampling")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PROMPT_IDS_FIELD_NUMBER: _ClassVar[int]
    MAX_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    model: str
    prompt_ids: _containers.RepeatedScalarFieldContainer[int]
    max_output: int
    sampling: _request_pb2.Sampling
    def __init__(self, model: _Optional[str] = ..., prompt_ids: _Optional[_Iterable[int]] = ..., max_output: _Optional[int] = ..., sampling: _Optional[_Union[_request_pb2.Sampling, _Mapping]] = ...) -> None: ...

class GenerateResponse(_message.Message):
    __slots__ = ("ids", "elapsed_us", "reason")
    IDS_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_US_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[int]
    elapsed_us: int
    reason: _outcome_pb2.FinishReason
    def __init__(self, ids: _Optional[_Iterable[int]] = ..., elapsed_us: _Optional[int] = ..., reason: _Optional[_Union[_outcome_pb2.FinishReason, str]] = ...) -> None: ...
