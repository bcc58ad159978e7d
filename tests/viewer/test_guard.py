"""The door: only our own page, at our own address, with the token; every answer has the headers."""

import pytest

from tests import tiny, viewed

HEADERS = ("content-security-policy", "x-content-type-options", "x-frame-options", "referrer-policy")


@pytest.fixture(scope="module")
def viewer(data, tmp_path_factory) -> viewed.Viewer:
    folder = tmp_path_factory.mktemp("predictions")
    dataset = tiny.Dataset.load(data)
    return viewed.open_viewer(viewed.predictions(folder, dataset, "case1_day0"), data=data)


def api(viewer: viewed.Viewer, path: str = f"/{viewed.TOKEN}/api/scans", method: str = "GET", **headers: str):
    return viewer.client.request(
        method, path, headers={name.replace("_", "-"): v for name, v in headers.items()}
    )


@pytest.mark.parametrize("host", ["127.0.0.1:4321", "localhost:4321"])
def test_its_own_address_answers(viewer, host) -> None:
    assert api(viewer, host=host).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:4321", "127.0.0.1", "127.0.0.1:80", "localhost:4321.evil.example", ""],
)
def test_a_foreign_host_is_turned_away(viewer, host) -> None:
    """A name that somebody points at this machine reaches the server, and not the scans."""
    answer = api(viewer, host=host)

    assert answer.status_code == 421
    assert "case1" not in answer.text


@pytest.mark.parametrize(
    "path",
    ["/", "/api/scans", "/Token/api/scans", "/toke/api/scans", "/tokenx/api/scans", "//token/api/scans",
     "/token", "/favicon.ico", "/token%2Fapi/scans%00", "/x/../token/api/scans"],
)  # fmt: skip
def test_without_the_token_nothing_is_here(viewer, path) -> None:
    answer = viewer.client.get(path)

    assert (
        answer.status_code == 404 or answer.request.url.path == "/token/api/scans"
    )  # a client may tidy `..`
    assert answer.status_code == 200 or "case1" not in answer.text


@pytest.mark.parametrize(
    "path",
    ["files/case1_day0/mask/..%2Frecord.json", "files/..%2Fcase1_day0/image.nii", "files/%2e%2e/image.nii",
     "files/case1_day0/mask/%2e%2e%2frecord.nii", "files/case1_day0/../mask/stomach.nii",
     "files/case1_day0/record.json", "files/case1_day0/nothing/stomach.nii", "files/case2_day0/image.nii",
     "files/case1_day0/mask/liver.nii", "files/case1_day0/mask/stomach.nii/", "static/..%2Fapp.py",
     "static/%2e%2e/app.py", "static/__init__.py", "static/viewer.html", "api/scans/case2_day0",
     "scans/case2_day0/", "api/scans/"],
)  # fmt: skip
def test_only_names_of_the_table_lead_anywhere(viewer, path) -> None:
    request = viewer.client.build_request("GET", f"/{viewed.TOKEN}/x")
    request.url = request.url.copy_with(raw_path=f"/{viewed.TOKEN}/{path}".encode())

    answer = viewer.client.send(request)

    assert answer.status_code == 404
    assert "error" in answer.json()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://127.0.0.1:4321"}, 200),
        ({"origin": "http://localhost:4321", "sec_fetch_site": "same-origin"}, 200),
        ({"origin": "null", "sec_fetch_site": "same-origin"}, 200),
        ({"origin": "null"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:5000"}, 403),
        ({"origin": "http://127.0.0.1:4321", "sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
    ],
)
def test_another_site_changes_nothing(viewer, headers, status) -> None:
    path = f"/{viewed.TOKEN}/api/scans/case1_day0/writer"
    answer = api(viewer, path, "POST", **headers)

    assert answer.status_code == status
    if status == 200:
        viewer.client.request("POST", f"{path}/release", json=answer.json())
    assert viewer.session.writers._writers == {}


@pytest.mark.parametrize("path", ["/", "/token/api/scans", "/token/nothing", "/token/static/none.js"])
def test_every_answer_has_the_headers(viewer, path) -> None:
    answer = viewer.client.get(path)

    assert {*HEADERS} <= {*answer.headers}
    assert answer.headers["content-security-policy"].startswith("default-src 'self'")
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"


def test_errors_of_other_methods_are_json(viewer) -> None:
    answer = viewer.ask("DELETE", "api/scans")

    assert answer.status_code == 405
    assert answer.json() == {"error": "Method Not Allowed"}
