"""The configuration of a run, with the section of whichever architecture it names.

Imports neither torch nor numpy.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, get_args

from pydantic import (
    BaseModel,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    ValidationError,
    model_serializer,
    model_validator,
)

from mssctl.config.losses import CombinedLossConfig, LossConfig
from mssctl.config.model import ModelSection
from mssctl.config.schema import (
    AudioConfig,
    DataConfig,
    OptimizerConfig,
    SchedulerConfig,
    STFTConfig,
    TrainingConfig,
)
from mssctl.config.section import Section, field, named
from mssctl.config.separation import SeparationConfig
from mssctl.errors import ExitCode, MssctlError, did_you_mean, shown
from mssctl.models.registry import ARCHITECTURES, DEFAULT, check_packages

if TYPE_CHECKING:
    ModelConfig = ModelSection
else:
    _FORMS = [Annotated[known.config, Tag(name)] for name, known in ARCHITECTURES.items()]
    ModelConfig = Annotated[reduce(or_, _FORMS), named(DEFAULT.name)]


class RunConfig(Section):
    """Everything a run needs, resolved: what ``config.yaml`` in a run folder holds."""

    description: Annotated[str, Field(max_length=10_000)] = field(
        "", doc="One line about the preset, for `plan` and docs/presets.md.", resumable=True
    )
    audio: AudioConfig = AudioConfig()
    stft: STFTConfig = STFTConfig()
    model: ModelConfig = DEFAULT.config()
    loss: LossConfig = CombinedLossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    scheduler: SchedulerConfig = SchedulerConfig()
    data: DataConfig = DataConfig()
    training: TrainingConfig = TrainingConfig()
    separation: SeparationConfig = SeparationConfig()

    @model_validator(mode="after")
    def _fits_together(self) -> RunConfig:
        if not self.model.uses_stft and "stft" in self.model_fields_set:
            raise ValueError(f"stft: {self.model.name} uses no STFT; leave this section out")
        self.model.check(self.audio, self.stft)
        weights, outputs = len(self.loss.stem_weights), len(self.audio.outputs)
        if weights not in (0, outputs):
            raise ValueError(f"loss.stem_weights has {weights} values, the model {outputs} stems")
        if self.training.segment_length < self.loss.shortest_segment:
            raise ValueError("training.segment_length is too short for the loss's windows")
        if self.model.uses_stft and self.training.segment_length < self.stft.n_fft:
            raise ValueError("training.segment_length is shorter than stft.n_fft")
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_not_read(self, standard: SerializerFunctionWrapHandler) -> dict[str, Any]:
        tree: dict[str, Any] = standard(self)
        if not self.model.uses_stft:
            tree.pop("stft", None)
        return tree


NAMED = 4  # problems in one message


def parse(tree: Mapping[str, Any], source: str) -> RunConfig:
    """Check ``tree`` against the schema.

    Args:
        tree: nested mappings as read from a file.
        source: name of the file or origin, put in front of each error.

    Raises:
        MssctlError: unknown key, wrong type or value; the first few are named, the others counted.
    """
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as error:
        found = error.errors(include_url=False)
        problems = [_explain(dict(item)) for item in found[:NAMED]]
        hints = [hint for _, hint in problems if hint]
        more = f"; and {len(found) - NAMED} more" if len(found) > NAMED else ""
        raise MssctlError(
            "; ".join(f"{source}: {message}" for message, _ in problems) + more,
            hint=hints[0] if hints else "the keys and their meaning are in docs/presets.md",
            exit_code=ExitCode.ENVIRONMENT,
        ) from None


def _explain(item: dict[str, Any]) -> tuple[str, str | None]:
    """Sentence and hint for one pydantic error."""
    path, known = _place([str(part) for part in item["loc"]])
    path = [shown(part)[1:-1] for part in path]
    if item["type"] == "extra_forbidden":
        section = ".".join(path[:-1])
        where = f"{section}: " if section else ""
        return f"{where}unknown key '{path[-1]}'", did_you_mean(path[-1], known)
    where = ".".join(path)
    if item["type"] == "union_tag_invalid":
        forms = list(forms_of(path[0]))
        tag = str(item["ctx"]["tag"])
        check_packages(tag)
        return f"{where}.name: unknown {shown(tag)}", did_you_mean(tag, forms)
    message = str(item["msg"]).removeprefix("Value error, ")[:200]
    got = "" if item["type"] == "value_error" and len(path) < 2 else f", got {shown(item['input'])}"
    return (f"{where}: {message}{got}" if where else message), None


def _place(path: list[str]) -> tuple[list[str], list[str]]:
    """The path as written in a preset, and the keys known where it ends.

    Where a section has several forms, pydantic puts the form's name after the section's.
    """
    if len(path) < 2:
        return path, list(RunConfig.model_fields)
    section, *rest = path
    forms = forms_of(section)
    if len(forms) > 1 and rest[0] in forms:
        return [section, *rest[1:]], list(forms[rest[0]].model_fields)
    return path, [key for form in forms.values() for key in form.model_fields]


def forms_of(section: str) -> dict[str, type[BaseModel]]:
    """Name -> form of a section; most sections have one. Empty if there is no such section."""
    field = RunConfig.model_fields.get(section)
    annotation = field.annotation if field else None
    options = get_args(annotation) or (annotation,)
    forms = [get_args(option)[0] if get_args(option) else option for option in options]
    return {
        str(form.model_fields["name"].default if "name" in form.model_fields else section): form
        for form in forms
        if isinstance(form, type) and issubclass(form, BaseModel)
    }
