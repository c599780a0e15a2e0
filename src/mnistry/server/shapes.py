"""What the API's answers look like, for its OpenAPI document."""

from typing import Annotated

from pydantic import BaseModel, Field

from mnistry.server.training import State

Share = Annotated[float, Field(ge=0, le=1)]
Ten = Annotated[list[Share], Field(min_length=10, max_length=10, description="Of 0 to 9.")]
Label = Annotated[int | None, Field(ge=0, le=9, description="Null where it is not sure.")]
Box = Annotated[
    list[int],
    Field(min_length=4, max_length=4, description="Left, top, width and height, in pixels."),
]
Image = Annotated[
    list[list[int]], Field(min_length=28, max_length=28, description="0 ground to 255 ink.")
]
Base64 = Annotated[str, Field(description="The bytes of an image, row by row, in base64.")]


class Answer(BaseModel):
    """What a network says of an image of 28 x 28 pixels."""

    label: Label
    confidence: Share
    probabilities: Ten


class Answers(BaseModel):
    """What a network says of several."""

    answers: list[Answer]


class Digit(Answer):
    """A digit that was read."""

    box: Box
    page: Annotated[int, Field(ge=0)]
    line: Annotated[int, Field(ge=0, description="Over all pages.")]
    seen: Annotated[Image | None, Field(description="With seen=true alone.")] = None


class Reading(BaseModel):
    """What was read from an image."""

    text: Annotated[str, Field(description="Line by line; ? where it is not sure.")]
    digits: list[Digit]


class Model(BaseModel):
    """A network that reads."""

    name: str
    kind: Annotated[str, Field(description="shipped, own or trained.")]
    classes: list[str]
    min_confidence: Annotated[Share, Field(description="Less sure is null.")]
    note: str


class Models(BaseModel):
    """The networks that read."""

    models: list[Model]


class Drawings(BaseModel):
    """Where drawings are kept, and how many."""

    folder: str
    count: int


class Kept(Drawings):
    """A drawing that was kept."""

    path: str
    name: Annotated[str, Field(description="LABEL/FILE, to take it back with DELETE.")]


class Layer(BaseModel):
    """What a layer makes of a digit."""

    name: str
    shape: Annotated[list[int], Field(description="Maps, height and width.")]
    maps: list[Base64]


class Evidence(BaseModel):
    """Which ink spoke for an answer, and which against it."""

    label: Annotated[int, Field(description="The most probable digit.")]
    values: Annotated[list[list[float]], Field(description="28 x 28: -1 against to 1 for it.")]


class Inspection(BaseModel):
    """How a network read one image."""

    label: Label
    probabilities: Ten
    layers: list[Layer]
    evidence: Evidence


class Set(BaseModel):
    """A set of digits."""

    name: str
    parts: list[str]
    classes: list[str]
    counts: dict[str, int]


class Sets(BaseModel):
    """The sets that can be looked at."""

    sets: list[Set]


class Shown(BaseModel):
    """An image of a set, and what a network says of it."""

    index: int
    label: int
    pixels: Base64
    answer: Label
    confidence: Share
    probabilities: Ten


class Part(BaseModel):
    """Some images of a set."""

    total: Annotated[int, Field(description="Of what was asked for, on all pages.")]
    offset: int
    images: list[Shown]


class Point(BaseModel):
    """A point of a training's curves."""

    epoch: Annotated[float, Field(description="0.25 is a quarter of the first.")]
    loss: float
    accuracy: Share


class Score(BaseModel):
    """The figures of a finished epoch."""

    epoch: int
    loss: float | None
    accuracy: Share | None
    val_loss: float | None
    val_accuracy: Share | None


class Training(BaseModel):
    """How far a training is, or how it ended."""

    name: str
    preset: str
    state: State
    message: str | None
    progress: Share
    epoch: int
    epochs: int
    seconds: float
    points: list[Point]
    scores: list[Score]
    test_accuracy: Share | None
    model: Annotated[str | None, Field(description="The network to read with, once it is done.")]


class Preset(BaseModel):
    """What can be trained."""

    name: str
    summary: str
    epochs: int
    learning_rate: float
    units: Annotated[list[int] | None, Field(description="Of its hidden dense layers.")]


class Trainings(BaseModel):
    """What can be trained, and what was."""

    available: bool
    why_not: str | None
    allowed: Annotated[bool, Field(description="Whether whoever asks may start one.")]
    presets: list[Preset]
    trainings: list[Training]


class Health(BaseModel):
    """That all is well."""

    status: str
