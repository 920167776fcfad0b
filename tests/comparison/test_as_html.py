import html as html_text
import re
import shlex
import shutil
import subprocess
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
from click.testing import CliRunner
from comparison_cases import bimodal, collapsed_fit, good_fit, nuts, run, stuck

from stanrovi.comparison.as_html import report_html, write_report
from stanrovi.comparison.comparison import compare
from stanrovi.errors import OutputError
from stanrovi.io.netcdf import write_netcdf
from stanrovi_cli.app import cli

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


@pytest.fixture(scope="module")
def comparison():
    rng = np.random.default_rng(0)
    fits = [collapsed_fit(rng), good_fit(rng, data="my data.json")]
    return compare(fits, nuts(bimodal(rng, 4, 500, 0.5)))


@pytest.fixture(scope="module")
def html(comparison):
    return report_html(comparison)


class Page(HTMLParser):
    """Tags with attributes, and the text between them."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def test_first_screen_answers_the_question(html):
    body = html[html.index("<body>") :]
    order = [
        body.index(text)
        for text in (
            "Can I trust the fits of bimodal_gaussian?",
            "rovi: yes. mfvi: no.",
            "What to do next</h2>",
            "Use the draws of rovi",
            "Collapsed",
            "Lost mode 2",
            "Posterior</h2>",
            "Worst parameters</h2>",
            "Modes</h2>",
            "Plots</h2>",
            "Settings and versions",
        )
    ]
    assert order == sorted(order)


def test_nothing_is_loaded_from_anywhere_and_nothing_runs(html):
    page = Page(html)
    assert not page.all("script")
    assert not [attrs for attrs in page.all("link") if not attrs["href"].startswith("data:")]
    sources = [attrs["src"] for attrs in page.all("img")]
    assert len(sources) >= 6
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    assert not re.search(r"@import|url\(", html)
    assert {a["href"][0] for a in page.all("a")} == {"#"}


def test_structure_for_assistive_technology(html):
    page = Page(html)
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    assert all(len(attrs["alt"]) > 20 for attrs in page.all("img"))
    assert all("scope" in attrs for attrs in page.all("th"))
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    assert {a["href"][1:] for a in page.all("a")} <= ids
    assert page.all("html")[0]["lang"] == "en"
    assert "width=device-width" in page.all("meta")[1]["content"]


def test_settings_are_told_and_no_command_is_made_up(html):
    text = "".join(Page(html).text)
    assert "my data.json" in text
    assert "numpy" in text
    assert "stage" not in text  # the raw trace is no setting
    assert "To reproduce" not in text
    assert "stanrovi fit" not in text
    assert "stanrovi sample" not in text


def test_names_are_escaped():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(4, 200, 1))
    evil = "<script>alert(1)</script>"
    hostile = compare({evil: run(evil, values[:1])}, nuts(values), model=evil)
    assert "<script" not in report_html(hostile, plots=[])
    assert "<script" not in hostile._repr_html_()


def test_an_untrusted_reference_is_said_so():
    rng = np.random.default_rng(2)
    html = report_html(compare(good_fit(rng), nuts(stuck(rng, 200))), plots=[])
    assert "Not trusted" in html
    assert "judged by the modes" in html
    assert "Worst parameters" not in html


def test_commands_and_plots_can_be_given(comparison):
    html = report_html(comparison, plots=[], commands=["stanrovi demo && echo <b>"])
    assert "To reproduce" in html
    assert "stanrovi demo &amp;&amp; echo &lt;b&gt;" in html
    assert "<img" not in html


def test_what_a_sampler_warned_of_is_told_and_text_for_programs_is_not():
    rng = np.random.default_rng(5)
    reference = nuts(bimodal(rng, 4, 250, 0.5))
    foreign = {"warnings": "the sampler said x", "modes": "[text of others]"}
    reference = replace(reference, attrs={**reference.attrs, **foreign})
    html = report_html(compare(good_fit(rng), reference), plots=[])
    assert "the sampler said x" in html
    assert "text of others" not in html


def test_notebook_table(comparison):
    fragment = comparison._repr_html_()
    assert fragment.startswith('<div class="stanrovi">')
    assert "✗ collapsed" in fragment
    for method in comparison.methods.values():
        assert all(reason in unescape(fragment) for reason in method.verdict.reasons)


def test_written_whole_and_never_over_another(comparison, tmp_path):
    path = comparison.to_html(tmp_path / "report.html")
    assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")
    with pytest.raises(OutputError, match="exists already"):
        write_report(comparison, path, plots=[])


FRAME = """<!DOCTYPE html><iframe id="page" style="border:0;width:{width}px;height:900px"
srcdoc="{page}"></iframe><script>
const frame = document.getElementById("page");
addEventListener("load", () => {{
  const page = frame.contentDocument, root = page.documentElement;
  const images = [...page.images].filter(i => i.complete && i.naturalWidth > 50).length;
  for (const one of page.querySelectorAll("details")) one.open = true;
  const regions = [...page.querySelectorAll(".scroll")];
  const within = regions.every(r => r.getBoundingClientRect().right <= root.clientWidth);
  const worst = [...page.querySelectorAll("#worst .scroll")].every(
    r => r.scrollWidth <= r.clientWidth);
  const stays = regions.filter(r => r.querySelector("table")).every(r => {{
    r.scrollLeft = 1000;
    const name = r.querySelector("tbody th").getBoundingClientRect();
    return name.left === r.getBoundingClientRect().left;
  }});
  const out = document.createElement("p");
  out.id = "probe";
  out.textContent = [images, page.images.length, root.clientWidth === {width},
    root.scrollWidth <= root.clientWidth, within, worst, stays,
    Math.min(...[...page.images].map(i => i.width / i.getAttribute("width"))) >= 0.7].join(" ");
  document.body.append(out);
}});
</script>"""


def in_browser(page, folder, width):
    """Log of a browser, and what it found in a frame of this width.

    Images loaded; images; whether the frame is as wide as asked, the page fits it, every region
    that scrolls lies in it, the worst table needs no scrolling, names of rows stay in sight,
    and no image is much reduced.
    """
    file = folder / "probe.html"
    file.write_text(FRAME.format(width=width, page=html_text.escape(page)), encoding="utf-8")
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--enable-logging=stderr",
            f"--user-data-dir={folder / 'profile'}",
            "--window-size=1400,1000",
            "--dump-dom",
            file.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found = re.search(r'id="probe">([\w ]+)<', done.stdout)
    return done.stderr, *found[1].split()


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
@pytest.mark.parametrize("width", [390, 1200])
def test_in_a_real_browser(html, tmp_path, width):
    log, loaded, total, wide, fits, within, _, stays, legible = in_browser(html, tmp_path, width)
    assert loaded == total != "0"
    assert wide == fits == within == "true"  # the page itself never scrolls sideways
    assert stays == legible == "true"
    assert "CONSOLE" not in log


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
@pytest.mark.parametrize("width", [390, 1200])
def test_long_names_and_many_rows_do_not_widen_the_page(tmp_path, width):
    rng = np.random.default_rng(7)
    name = "log_odds_of_the_intercept_of_every_hospital"
    reference = nuts(1e7 * rng.normal(size=(4, 100, 60)), name=name)
    fit = run("vi", 1e7 * rng.normal(size=(1, 400, 60)), name=name)
    page = report_html(compare(fit, reference), plots=[], program="m.stan --data " + "x" * 90)
    _, _, _, wide, fits, within, _, stays, _ = in_browser(page, tmp_path, width)
    assert wide == fits == within == stays == "true"


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_the_table_of_four_methods_needs_no_scrolling(tmp_path):
    rng = np.random.default_rng(6)
    fits = {
        name: run("vi", 1.1 * bimodal(rng, 1, 500, 0.5), name="log_sigma_slope")
        for name in ("mfvi", "gaussian", "rovi", "mixture")
    }
    reference = nuts(bimodal(rng, 4, 500, 0.5), name="log_sigma_slope")
    html = report_html(compare(fits, reference), plots=[])
    _, _, _, _, fits_in, _, worst, _, _ = in_browser(html, tmp_path, 1200)
    assert fits_in == worst == "true"


@pytest.mark.slow
def test_the_command_line_repeats_itself_in_the_report(comparison, tmp_path):
    fit, reference = tmp_path / "my fit.nc", tmp_path / "nuts.nc"
    write_netcdf(comparison.fits["rovi"], fit)
    write_netcdf(comparison.reference_draws, reference)
    words = ["report", str(fit), str(reference), "--output", str(tmp_path / "out")]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert shlex.join(["stanrovi", *words]) in "".join(Page(page).text)
