"""How the page looks: one style sheet for light and dark, wide and narrow."""

from volseg.visualization.overlay import COLOURS

STYLE = """
:root { color-scheme: light dark; --paper: #f6f5f2; --card: #fff; --ink: #1d2125; --soft: #5c646d;
  --line: #e3e1dc; --grid: #ecebe7; --neutral: #7b8794; --accent: #2f6f9f; --heat: 0, 98, 155; }
@media (prefers-color-scheme: dark) { :root { --paper: #111417; --card: #191d21; --ink: #e8eaec;
  --soft: #9aa4ae; --line: #2c3238; --grid: #262b31; --neutral: #8a96a3; --accent: #6fb3e0;
  --heat: 86, 180, 233; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif; }
main { max-width: 1280px; margin: 0 auto; padding: 32px 24px 48px; }
header h1 { font-size: 28px; line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
header p { color: var(--soft); margin: 4px 0 20px; }
h2 { font-size: 19px; margin: 40px 0 12px; }
h2 + p { color: var(--soft); margin: -10px 0 14px; max-width: 110ch; }
h3 { font-size: 14px; margin: 0 0 8px; font-weight: 600; overflow-wrap: anywhere; }
.tiles { display: grid; gap: 12px; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); margin: 0; }
.tiles div, figure, .card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.first { margin-top: 16px; }
.tiles div { padding: 12px 16px; display: flex; flex-direction: column; }
.tiles dt { color: var(--soft); font-size: 13px; }
.tiles dd { margin: 0; font-size: 22px; font-weight: 600; line-height: 1.35; }
.tiles dd + dd { font-size: 13px; font-weight: 400; color: var(--soft); }
.plots { display: grid; gap: 16px;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 350px), 1fr)); }
figure, .card { display: flex; flex-direction: column; margin: 0; padding: 14px 14px 12px; min-width: 0; }
figcaption { color: var(--soft); font-size: 12.5px; line-height: 1.4; margin-top: auto; padding-top: 8px; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 8px; text-align: right; border-top: 1px solid var(--line); vertical-align: top; }
thead th { border-top: 0; color: var(--soft); font-weight: 500; font-size: 12.5px; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
tbody th { font-weight: 500; overflow-wrap: break-word; }
td:last-child, th:last-child { padding-right: 0; }
td small { display: block; color: var(--soft); font-size: 12px; white-space: nowrap; }
.card > table { table-layout: auto; }
.stack { display: grid; gap: 16px; }
.prose { margin: 0 0 6px; max-width: 100ch; }
.scrolled { overflow: auto; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 2px 14px; margin: 0 0 8px; padding: 0;
  color: var(--soft); font-size: 12.5px; }
.plots > .legend { grid-column: 1 / -1; margin: 0; font-size: 13.5px; }
.key { display: inline-block; width: 22px; border-top: 2.5px solid var(--edge); margin-right: 6px;
  vertical-align: middle; }
.key.dashed { border-top-style: dashed; }
.full { grid-column: 1 / -1; }
summary { cursor: pointer; font-size: 14px; font-weight: 600; }
details[open] > summary { margin-bottom: 10px; }
pre { margin: 0; font: 12.5px/1.45 ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 3px; }
.heat td { text-align: center; border: 2px solid var(--card); border-radius: 4px; }
.heat th { border: 0; }
.heat thead th { text-align: center; }
.swatch { display: inline-block; width: 10px; height: 10px; border-radius: 3px; margin-right: 7px;
  border: 1px solid; }
.notes { margin: 32px 0 0; color: var(--soft); font-size: 13.5px; max-width: 100ch; overflow-wrap: anywhere; }
footer { margin-top: 40px; color: var(--soft); font-size: 13px; }
text { fill: var(--soft); font-size: 12px; font-variant-numeric: tabular-nums; }
text.name { fill: var(--ink); font-weight: 500; }
text.small { font-size: 11px; }
.axis, .grid, .box, .whisker, .median, .range, .hair { fill: none; stroke: var(--neutral); }
.grid { stroke: var(--grid); }
.hair { stroke: var(--line); }
.box { fill: var(--neutral); stroke: none; }
.median { stroke: var(--ink); stroke-width: 2; }
.halo { fill: none; stroke: var(--card); stroke-width: 5; }
.curve { fill: none; stroke: var(--edge); stroke-width: 2; stroke-linejoin: round; }
.curve.dashed { stroke-dasharray: 6 4; }
.unseen { fill: transparent; }
.bar { fill: var(--neutral); }
.bar.accent { fill: var(--accent); }
.track { fill: var(--grid); }
.band0 { fill: var(--accent); fill-opacity: .16; }
.band1 { fill: var(--accent); fill-opacity: .24; }
.band2 { fill: var(--accent); fill-opacity: .42; }
.over { fill: transparent; }
.over:hover { fill: var(--ink); fill-opacity: .12; }
circle:hover { r: 5px; }
@media (max-width: 760px) {
  main { padding: 20px 14px 32px; }
  header h1 { font-size: 23px; }
  .tiles { grid-template-columns: 1fr 1fr; gap: 8px; }
  .tiles div:last-child:nth-child(odd) { grid-column: 1 / -1; }
  .tiles dd { font-size: 18px; }
  .wide thead { display: none; }
  .wide tr { display: block; padding: 8px 0; border-top: 1px solid var(--line); }
  .wide tr:first-child { border-top: 0; }
  .wide th, .wide td { display: flex; justify-content: space-between; gap: 12px; border: 0; padding: 2px 0; }
  .wide td::before { content: attr(data-label); color: var(--soft); text-align: left; }
  .wide td small { display: inline; margin-left: 6px; }
  .wide td:has(> span:empty) { display: none; }
  .pairs tr { display: grid; grid-template-columns: 1fr 1fr; gap: 0 24px; }
  .pairs th { grid-column: 1 / -1; }
}
@media (max-width: 600px) { .pairs:has(small) tr { grid-template-columns: 1fr; } }
@media (max-width: 460px) { text { font-size: 14px; } text.small { font-size: 13px; } }
@media print { body { background: #fff; } figure, .card { break-inside: avoid; } }
"""
MARKS = """
.dots, .area, .stroke, .solid, .swatch, .curve, .key { --edge: var(--shade); }
.dots { fill: var(--fill); fill-opacity: .75; stroke: var(--edge); stroke-width: .7; }
.area { fill: var(--fill); fill-opacity: .55; stroke: var(--edge); stroke-width: 1; }
.stroke { fill: none; stroke: var(--edge); stroke-width: 1.4; }
.solid { fill: var(--fill); stroke: var(--edge); stroke-width: .7; }
.swatch { background: var(--fill); border-color: var(--edge); }
.none { --fill: var(--neutral); --shade: var(--neutral); }
.plain { --fill: var(--accent); --shade: var(--accent); }
@media (prefers-color-scheme: dark) {
  .dots, .area, .stroke, .solid, .swatch, .curve, .key { --edge: var(--fill); } }
"""


def build_css() -> str:
    """The sheet. Classes have the colours of volseg's overlays, with dark edges where the paper is light."""
    colours = [
        f".c{index} {{ --fill: rgb{colour}; --shade: rgb{_darker_colour(colour)}; }}"
        for index, colour in enumerate(COLOURS)
    ]
    return "\n".join([STYLE.strip(), *colours, MARKS.strip()])


def css_colour(index: int) -> str:
    """The style sheet's name for the colour of a class."""
    return f"c{index % len(COLOURS)}"


def _darker_colour(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    red, green, blue = (round(0.62 * part) for part in colour)
    return red, green, blue
