"""Where the source lies on the canvas, for random recipes and at the limits."""

import random

import pytest

from shared.recipes import Recipe, build_recipe
from shared.recipes.rules import MAX_CANVAS_PX
from shared.recipes.values import Insets, Size
from worker.imaging.render.extent import most_canvas_px
from worker.imaging.render.geometry import plan
from worker.imaging.render.types import Box, Placement, Subject

SIDES = ("left", "top", "right", "bottom")
ROUNDS = 3000


def recipe_of(**fields: object) -> Recipe:
    return build_recipe(fields, origin="test")


def subject_of(left, top, right, bottom, *, cut=(), share=0.7):
    box = Box(left, top, right, bottom)
    return Subject(box, share * box.width * box.height, frozenset(cut))


@pytest.fixture
def draws():
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - pytest shows it when a test fails
    return random.Random(seed)


def any_insets(draws):
    unit = draws.choice(("px", "%"))
    return [f"{draws.choice((0, 1, 3, 7.5, 20)):g}{unit}" for _ in range(draws.choice((1, 2, 4)))]


def any_recipe(draws) -> Recipe:
    """Return a random recipe of placed subjects, crops and whole images."""
    fields: dict[str, object] = {"max_upscale": draws.choice((1, 1, 1.5, 4))}
    canvas = draws.choice(("size", "size", "longest_px", "megapixels", "aspect", "original", ""))
    side = [draws.randint(1, 3000) for _ in range(2)]
    if canvas == "size":
        fields["size"] = side
        if draws.random() < 0.5:
            fields["min_size"] = [draws.randint(1, each) for each in side]
    elif canvas:
        fields[canvas] = {
            "longest_px": draws.randint(1, 4000),
            "megapixels": draws.uniform(0.001, 9),
            "aspect": f"{draws.uniform(0.1, 9):.3f}:1",
            "original": True,
        }[canvas]
    fields["crop"] = draws.random() < 0.3
    room = draws.choice(("fill", "padding", "crop_margin", ""))
    if room == "fill":
        fields["fill"] = draws.uniform(0.05, 1)
        fields["fill_of"] = draws.choice(("longest_side", "box_area", "mask_area"))
    elif room and (room != "crop_margin" or fields["crop"]):
        fields[room] = any_insets(draws)
    if draws.random() < 0.4:
        fields["margin"] = any_insets(draws)
    fields["position"] = draws.choice(("auto", "centre", "10% 90%", "0% 100%"))
    fields["align"] = draws.choice(("centre", "centre", "bottom", "top left", "right"))
    if canvas in ("size", "longest_px", "megapixels") and draws.random() < 0.2:
        fields["fit"] = "limit"
    return recipe_of(**fields)


def any_source(draws):
    """Return a source and a subject in it, often at its edges."""
    width, height = draws.randint(1, 3000), draws.randint(1, 3000)
    left, right = sorted(draws.sample(range(width + 1), 2))
    top, bottom = sorted(draws.sample(range(height + 1), 2))
    cut = set()
    for side in SIDES:
        if draws.random() < 0.15:
            cut.add(side)
    left, top = (0 if "left" in cut else left), (0 if "top" in cut else top)
    right, bottom = (
        width if "right" in cut else right,
        height if "bottom" in cut else bottom,
    )
    share = draws.uniform(0.2, 1)
    return Size(width, height), subject_of(left, top, right, bottom, cut=cut, share=share)


def insets_px(insets: Insets | None, canvas: Size):
    """Return left, top, right, bottom in pixels."""
    if insets is None:
        return 0.0, 0.0, 0.0, 0.0
    return tuple(
        getattr(insets, side).of_px(
            canvas.width_px if side in ("left", "right") else canvas.height_px
        )
        for side in SIDES
    )


def free_px(placement: Placement):
    """Return the free room around the subject: left, top, right, bottom."""
    canvas, box = placement.canvas, placement.subject
    return box.left, box.top, canvas.width_px - box.right, canvas.height_px - box.bottom


def has_room(placement, recipe):
    """Return whether margins and padding leave at least a pixel on both axes."""
    canvas = placement.canvas
    around = [insets_px(each, canvas) for each in (recipe.margin, recipe.padding)]
    left, top, right, bottom = (max(sides) for sides in zip(*around, strict=True))
    return canvas.width_px - left - right >= 3 and canvas.height_px - top - bottom >= 3


def test_the_subject_never_leaves_the_canvas_and_the_margin_holds(draws):
    for _ in range(ROUNDS):
        (source, subject), recipe = any_source(draws), any_recipe(draws)
        placement = plan(source, subject, recipe)
        if not has_room(placement, recipe):
            continue
        margins = insets_px(recipe.margin, placement.canvas)
        for side, free, margin in zip(SIDES, free_px(placement), margins, strict=True):
            assert free >= margin - 0.01, (side, source, subject, recipe, placement)


def test_padding_holds_except_on_sides_where_the_source_cuts_the_subject(draws):
    for _ in range(ROUNDS):
        (source, subject), recipe = any_source(draws), any_recipe(draws)
        placement = plan(source, subject, recipe)
        if not has_room(placement, recipe):
            continue
        paddings = insets_px(recipe.padding, placement.canvas)
        for side, free, padding in zip(SIDES, free_px(placement), paddings, strict=True):
            assert side in subject.cut or free >= padding - 0.01, (side, recipe, placement)


def is_filled(placement, subject, recipe):
    """Return whether `fill` is reached to within a pixel, of the subject and of the canvas."""
    canvas, box = placement.canvas, placement.subject
    if recipe.fill_of == "longest_side":
        spans = ((box.width, canvas.width_px), (box.height, canvas.height_px))
        assert all(length <= recipe.fill * whole + 1.01 for length, whole in spans)
        return any(length >= recipe.fill * (whole - 1) - 1.01 for length, whole in spans)
    area = box.width * box.height
    if recipe.fill_of == "mask_area":
        area *= subject.area_px / (subject.box.width * subject.box.height)
    least = recipe.fill * (canvas.width_px - 1) * (canvas.height_px - 1)
    return area**0.5 >= least**0.5 - 1.01


def is_at_its_floor(canvas, recipe):
    if recipe.min_size:
        return (
            canvas.width_px == recipe.min_size.width_px
            or canvas.height_px == recipe.min_size.height_px
        )
    is_fixed = isinstance(recipe.size, Size) or recipe.longest_px or recipe.megapixels
    return bool(is_fixed) and recipe.fit != "limit"


def test_fill_is_reached_within_a_pixel_or_a_rule_is_the_reason(draws):
    reached = 0
    for _ in range(2 * ROUNDS):
        (source, subject), recipe = any_source(draws), any_recipe(draws)
        placement = plan(source, subject, recipe)
        if recipe.fill is None or subject.cut or not has_room(placement, recipe):
            continue
        if is_filled(placement, subject, recipe):
            reached += 1
            continue
        canvas, box = placement.canvas, placement.subject
        left, top, right, bottom = free_px(placement)
        margin = insets_px(recipe.margin, canvas)
        is_tight = (
            left + right <= margin[0] + margin[2] + 3.01
            or top + bottom <= margin[1] + margin[3] + 3.01
        )
        most = recipe.max_upscale - 1 / max(subject.box.width, subject.box.height)
        is_enlarged = placement.scale >= most and is_at_its_floor(canvas, recipe)
        is_small = max(box.width, box.height) < 1.01
        is_largest = canvas.width_px * canvas.height_px > 0.99 * MAX_CANVAS_PX
        reasons = is_tight, is_enlarged, is_small, is_largest
        assert any(reasons), (source, subject, recipe, placement)
    assert reached > 100


def test_a_placed_subject_has_sharp_edges_on_whole_pixels(draws):
    """Both edges of its longest side, and one of the other."""
    for _ in range(ROUNDS):
        (source, subject), recipe = any_source(draws), any_recipe(draws)
        if recipe.fill is None and recipe.padding is None:
            continue
        placement = plan(source, subject, recipe)
        if placement.scale < 1e-3 or not has_room(placement, recipe):
            continue
        box = placement.subject
        longest = max(box.width, box.height)
        assert longest == pytest.approx(round(longest), abs=1e-6)
        for low, high in ((box.left, box.right), (box.top, box.bottom)):
            assert min(abs(low - round(low)), abs(high - round(high))) < 1e-6, (placement, recipe)


def test_the_subject_is_never_enlarged_beyond_max_upscale(draws):
    for _ in range(ROUNDS):
        (source, subject), recipe = any_source(draws), any_recipe(draws)
        placement = plan(source, subject, recipe)

        assert placement.scale <= recipe.max_upscale
        assert placement.upscaled == max(1.0, placement.scale)


def test_a_canvas_never_exceeds_the_largest_nor_falls_below_min_size(draws):
    for _ in range(ROUNDS):
        (source, subject), recipe = any_source(draws), any_recipe(draws)
        canvas = plan(source, subject, recipe).canvas

        assert canvas.width_px * canvas.height_px <= MAX_CANVAS_PX
        if recipe.min_size:
            assert canvas.width_px >= recipe.min_size.width_px
            assert canvas.height_px >= recipe.min_size.height_px


@pytest.fixture
def vase():
    """Return a source of 1000 x 800 whose subject is 300 wide and 600 high."""
    return Size(1000, 800), subject_of(400, 100, 700, 700)


def of(placement):
    """Return the canvas, the scale and the subject's box, rounded."""
    box = placement.subject
    corners = tuple(round(each, 3) for each in (box.left, box.top, box.right, box.bottom))
    return str(placement.canvas), round(placement.scale, 4), corners


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({}, ("1000x800", 1.0, (400, 100, 700, 700)), id="nothing: the source"),
        pytest.param(
            {"size": 500, "fill": 0.8}, ("500x500", 0.6667, (150, 50, 350, 450)), id="fill"
        ),
        pytest.param(
            {"size": 500, "fill": 0.18, "fill_of": "box_area"},
            ("500x500", 0.5, (175, 100, 325, 400)),
            id="fill of the box's area",
        ),
        pytest.param(
            {"size": 500, "fill": 0.126, "fill_of": "mask_area"},
            ("500x500", 0.5, (175, 100, 325, 400)),
            id="fill of the mask's area",
        ),
        pytest.param(
            {"size": 2000, "fill": 0.8},
            ("2000x2000", 1.0, (850, 700, 1150, 1300)),
            id="too small for the canvas",
        ),
        pytest.param(
            {"size": 2000, "min_size": 500, "fill": 0.8},
            ("750x750", 1.0, (225, 75, 525, 675)),
            id="too small: the canvas shrinks",
        ),
        pytest.param(
            {"size": 2000, "min_size": 1000, "fill": 0.8},
            ("1000x1000", 1.0, (350, 200, 650, 800)),
            id="too small: it shrinks to min_size",
        ),
        pytest.param(
            {"size": 2000, "fit": "limit", "fill": 0.8},
            ("750x750", 1.0, (225, 75, 525, 675)),
            id="too small: limit has no floor",
        ),
        pytest.param(
            {"size": 2000, "fill": 0.8, "max_upscale": 4},
            ("2000x2000", 2.6667, (600, 200, 1400, 1800)),
            id="enlarged",
        ),
        pytest.param(
            {"size": "original", "fill": 0.5},
            ("1499x1200", 1.0, (600, 300, 900, 900)),
            id="too large: the source's canvas grows",
        ),
        pytest.param({"crop": True}, ("300x600", 1.0, (0, 0, 300, 600)), id="crop"),
        pytest.param(
            {"crop": True, "crop_margin": "10% 20px"},
            ("340x720", 1.0, (20, 60, 320, 660)),
            id="crop with a margin of the subject",
        ),
        pytest.param(
            {"crop": True, "fill": 0.75},
            ("400x800", 1.0, (50, 100, 350, 700)),
            id="crop to a fill",
        ),
        pytest.param(
            {"crop": True, "size": 300},
            ("300x300", 0.5, (75, 0, 225, 300)),
            id="crop on a canvas",
        ),
        pytest.param(
            {"size": 500, "padding": "10%"},
            ("500x500", 0.6667, (150, 50, 350, 450)),
            id="padding",
        ),
        pytest.param(
            {"size": 500, "padding": "10%", "margin": "100px 0"},
            ("500x500", 0.5, (175, 100, 325, 400)),
            id="padding and a greater margin",
        ),
        pytest.param(
            {"size": 400}, ("400x400", 0.4, (160, 80, 280, 320)), id="the image on a canvas"
        ),
        pytest.param(
            {"size": 400, "position": "centre"},
            ("400x400", 0.4, (140, 80, 260, 320)),
            id="the image, subject centred",
        ),
        pytest.param(
            {"size": 400, "position": "0% 100%"},
            ("400x400", 0.4, (0, 160, 120, 400)),
            id="the image, subject bottom left",
        ),
        pytest.param(
            {"size": 400, "margin": "10px", "align": "bottom right"},
            ("400x400", 0.38, (276, 162, 390, 390)),
            id="aligned to the margin",
        ),
        pytest.param(
            {"size": 400, "fit": "cover"},
            ("400x400", 0.5, (150, 50, 300, 350)),
            id="cover",
        ),
        pytest.param(
            {"size": 400, "fit": "cover", "position": "0% 0%"},
            ("400x400", 0.5, (200, 50, 350, 350)),
            id="cover from the left",
        ),
        pytest.param(
            {"size": "100x400", "fit": "cover", "position": "0% 0%", "align": "left"},
            ("100x400", 0.5, (200, 50, 350, 350)),
            id="cover of a canvas that is too narrow for the subject",
        ),
        pytest.param(
            {"size": "200x400", "fit": "cover", "position": "0% 0%"},
            ("200x400", 0.5, (50, 50, 200, 350)),
            id="cover moves to show the subject",
        ),
        pytest.param(
            {"size": 400, "fit": "limit"}, ("400x320", 0.4, (160, 40, 280, 280)), id="limit"
        ),
        pytest.param(
            {"size": 4000, "fit": "limit"},
            ("1000x800", 1.0, (400, 100, 700, 700)),
            id="limit never enlarges",
        ),
        pytest.param({"longest_px": 500}, ("500x400", 0.5, (200, 50, 350, 350)), id="longest_px"),
        pytest.param({"megapixels": 0.2}, ("500x400", 0.5, (200, 50, 350, 350)), id="megapixels"),
        pytest.param({"aspect": "1:1"}, ("1000x1000", 1.0, (400, 200, 700, 800)), id="aspect"),
        pytest.param(
            {"aspect": "1:1", "fit": "cover"},
            ("800x800", 1.0, (300, 100, 600, 700)),
            id="aspect, covered",
        ),
        pytest.param(
            {"aspect": "1:2", "longest_px": 500, "fill": 1.0},
            ("250x500", 0.8333, (0, 0, 250, 500)),
            id="aspect and longest_px",
        ),
        pytest.param(
            {"size": 100, "margin": "60px", "fill": 0.9},
            ("121x121", 0.0017, (60, 60, 60.5, 61)),
            id="a margin that leaves no room: the canvas grows",
        ),
    ],
)
def test_a_recipe_places_a_vase(vase, fields, expected):
    assert of(plan(*vase, recipe_of(**fields))) == expected


def bust(*, cut):
    """Return a source of 800 x 800 that cuts a subject of 400 x 600."""
    left = 0 if "left" in cut else 200
    return Size(800, 800), subject_of(left, 200, left + 400, 800, cut=cut)


@pytest.mark.parametrize(
    ("fields", "cut", "expected"),
    [
        pytest.param(
            {"size": 400, "fill": 0.5},
            {"bottom"},
            ("400x400", 0.5, (100, 100, 300, 400)),
            id="the axis that is cut is left out of fill",
        ),
        pytest.param(
            {"size": 400, "fill": 0.25, "fill_of": "box_area"},
            {"bottom"},
            ("400x400", 0.5, (100, 100, 300, 400)),
            id="of an area's share the other axis keeps the root",
        ),
        pytest.param(
            {"size": 400, "fill": 0.5},
            {"bottom", "left"},
            ("400x400", 0.6667, (0, 0, 267, 400)),
            id="without an axis for fill the subject fits the canvas",
        ),
        pytest.param(
            {"size": 400, "padding": "25%"},
            {"bottom"},
            ("400x400", 0.5, (100, 100, 300, 400)),
            id="padding is ignored on sides that are cut",
        ),
        pytest.param(
            {"size": 400, "padding": "25%", "margin": "10px"},
            {"bottom"},
            ("400x400", 0.4833, (103, 100, 296, 390)),
            id="the margin is not",
        ),
        pytest.param(
            {"size": 400, "fill": 0.5, "align": "top"},
            {"bottom"},
            ("400x400", 0.5, (100, 100, 300, 400)),
            id="a side that is cut wins over align",
        ),
        pytest.param(
            {"crop": True, "crop_margin": "10%"},
            {"bottom"},
            ("480x660", 1.0, (40, 60, 440, 660)),
            id="a crop has no margin there",
        ),
    ],
)
def test_a_source_that_cuts_the_subject(fields, cut, expected):
    placement = plan(*bust(cut=cut), recipe_of(**fields))

    canvas, scale, box = of(placement)
    assert (canvas, scale, tuple(map(round, box))) == expected
    assert placement.cut == cut


@pytest.mark.parametrize("source", [(1, 1), (1, 5000), (5000, 1), (20000, 3)])
@pytest.mark.parametrize(
    "fields", [{}, {"size": 300, "fill": 0.85}, {"longest_px": 50}, {"aspect": "1:30"}]
)
def test_extreme_sources_have_a_canvas(source, fields):
    whole = Size(*source), subject_of(0, 0, *source, cut=("left", "right", "top", "bottom"))

    placement = plan(*whole, recipe_of(**fields))

    assert placement.canvas.width_px >= 1
    assert placement.canvas.height_px >= 1
    assert placement.scale > 0


def test_a_source_that_is_larger_than_the_largest_canvas_is_scaled_down():
    placement = plan(Size(10_000, 8_000), subject_of(0, 0, 5_000, 5_000), recipe_of())

    assert placement.canvas == Size(8944, 7155)
    assert placement.scale == pytest.approx(0.8944, abs=1e-4)


def test_no_canvas_is_larger_than_what_was_counted_before_decoding(draws):
    """Except a small canvas that grew until its margins left room or its frame had one pixel."""
    for _ in range(ROUNDS):
        (source, subject), recipe = any_source(draws), any_recipe(draws)
        placement = plan(source, subject, recipe)
        canvas = placement.canvas
        if not has_room(placement, recipe) or (recipe.crop and (recipe.padding or recipe.margin)):
            continue
        if max(placement.subject.width, placement.subject.height) < 1 + 1e-6:
            continue
        turned = Size(source.height_px, source.width_px)
        for known in (source, turned):
            rounding_px = canvas.width_px + canvas.height_px  # a row and a column
            most_px = 1.01 * most_canvas_px(recipe, known) + rounding_px
            assert canvas.width_px * canvas.height_px <= most_px, recipe


@pytest.mark.parametrize(
    ("fields", "most_px"),
    [
        ({}, 300 * 200),
        ({"size": "2000x1000"}, 2_000_000),
        ({"longest_px": 600}, 600 * 400),
        ({"longest_px": 600, "crop": True}, 600 * 600),
        ({"megapixels": 2}, 2_000_000),
        ({"aspect": "1:1"}, 300 * 300),
        ({"fill": 0.5}, 600 * 400),
        ({"fill": 0.001}, MAX_CANVAS_PX),
    ],
)
def test_the_canvas_that_is_counted_is_no_larger_than_needed(fields, most_px):
    counted = most_canvas_px(recipe_of(**fields), Size(300, 200))
    assert 0.99 * most_px <= counted <= 1.01 * most_px
