"""The server, spoken to as a browser does and as an attacker would."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import av
import numpy as np
import pytest

from aftermath.studio.painting import between
from small_clip import write_scene
from studio_server import Answer, Server, ended

API = "/studio/api"
BOX = {"x0": 30, "y0": 40, "x1": 62, "y1": 84, "frame": 0}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The scene of the tests at 160x120, 12 frames, as a file's bytes."""
    path = tmp_path_factory.mktemp("scene") / "scene.mp4"
    write_scene(path)
    return path.read_bytes()


def made(server: Server, scene: bytes, name: str = "scene.mp4") -> str:
    """A project of the scene, read."""
    answer = server.upload(name, scene)
    assert answer.code == 200, answer.body
    project = answer.json()["id"]
    state = server.wait(project, ended)
    assert state["clip"], state
    return project


def error(answer: Answer, code: int = 400) -> str:
    assert answer.code == code, answer.body
    return answer.json()["error"]


def test_a_clip_is_sent_read_clicked_and_removed_from(server: Server, scene: bytes) -> None:
    project = made(server, scene)
    at = f"{API}/projects/{project}"
    assert server.state(project)["clip"]["frames"] == 12
    server.ask(at, "PATCH", {"boxes": [BOX]})
    answer = server.ask(f"{at}/click", "POST", {"frame": 0})
    levels = np.frombuffer(answer.body, np.uint8).reshape(120, 160)
    assert set(np.unique(levels)) == {0, 255}
    server.ask(f"{at}/run/remove", "POST")
    state = server.wait(project, ended)
    assert state["result"]["fresh"] and state["mask"]["fresh"], state["jobs"]
    before, after = (server.ask(f"{at}/frames/{side}/3").body for side in ("before", "after"))
    assert before[:3] == after[:3] == b"\xff\xd8\xff" and before != after
    film = server.ask(f"{at}/files/video")
    assert film.headers["content-disposition"] == 'attachment; filename="scene.removed.mp4"'
    assert json.loads(server.ask(f"{at}/files/record").body)["engine"] == "draft"
    assert [
        one["stands"] for one in server.ask(f"{API}/projects").json()["projects"] if one["id"] == project
    ] == ["made"]
    # a change makes the result one of before
    server.ask(at, "PATCH", {"choices": {"seed": 5}})
    assert not server.state(project)["result"]["fresh"]


def test_two_browsers_see_the_same_and_do_not_undo_each_other(server: Server, scene: bytes) -> None:
    project = made(server, scene)
    at = f"{API}/projects/{project}"
    with socket.create_connection(
        (urlsplit(server.address).hostname, urlsplit(server.address).port)
    ) as other:
        other.settimeout(30)
        host = urlsplit(server.address).netloc
        other.sendall(f"GET {at}/events HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        heard = b""
        while b"data: " not in heard:
            heard += other.recv(65536)
        server.ask(at, "PATCH", {"boxes": [BOX]})
        server.ask(at, "PATCH", {"prompt": "an empty table"})
        while b"an empty table" not in heard:
            heard += other.recv(65536)
    document = server.state(project)["document"]
    assert document["prompt"] == "an empty table" and len(document["boxes"]) == 1
    # both press the button: it is done once
    for _ in range(2):
        assert server.ask(f"{at}/run/mask", "POST").code == 200
    state = server.wait(project, ended)
    assert sum(job["kind"] == "mask" for job in state["jobs"]) <= 2 and state["mask"]["fresh"]


@pytest.mark.long
def test_a_killed_server_goes_on_with_its_queue(
    new_server: Callable[..., Server], scene: bytes, tmp_path: Path
) -> None:
    first = new_server(workspace=tmp_path)
    projects = [made(first, scene, f"clip {number}.mp4") for number in (1, 2)]
    for project in projects:
        first.ask(f"{API}/projects/{project}", "PATCH", {"boxes": [BOX]})
        first.ask(f"{API}/projects/{project}/run/remove", "POST")
    first.wait(
        projects[0], lambda state: state["jobs"][-1]["state"] == "running" and state["jobs"][-1]["stage"]
    )
    assert first.stop(signal.SIGKILL) == -signal.SIGKILL
    second = new_server(workspace=tmp_path)
    for project in projects:
        state = second.wait(project, ended)
        assert state["jobs"][-1]["state"] == "done", state["jobs"]
        assert state["result"]["fresh"]
    # politely: nothing is lost, nothing is said
    assert second.stop(signal.SIGINT) in (0, 130)
    assert "Traceback" not in "".join(second.told)


@pytest.mark.long
def test_what_is_stopped_stays_stopped_and_can_go_on(server: Server, scene: bytes) -> None:
    project = made(server, scene)
    at = f"{API}/projects/{project}"
    server.ask(at, "PATCH", {"boxes": [BOX], "choices": {"engine": "void", "model": "nano"}})
    server.ask(f"{at}/run/remove", "POST")
    server.wait(project, lambda state: state["jobs"][-1]["stage"] == "render")
    server.ask(f"{at}/stop", "POST")
    state = server.wait(project, ended)
    assert state["jobs"][-1]["state"] == "stopped" and state["result"] is None
    assert state["found"], "what was done stays"
    server.ask(at, "PATCH", {"choices": {"engine": "draft"}})
    server.ask(f"{at}/run/remove", "POST")
    assert server.wait(project, ended)["result"]["fresh"]


def test_what_is_painted_is_followed(server: Server, scene: bytes) -> None:
    project = made(server, scene)
    at = f"{API}/projects/{project}"
    server.ask(at, "PATCH", {"boxes": [BOX]})
    server.ask(f"{at}/run/mask", "POST")
    server.wait(project, ended)
    painted = np.full((120, 160), 255, np.uint8)
    painted[50:70, 30:60] = 0
    assert server.ask(f"{at}/levels/2", "PUT", painted.tobytes()).json()["painted"] == [2]
    assert np.array_equal(
        np.frombuffer(server.ask(f"{at}/levels/2").body, np.uint8).reshape(120, 160), painted
    )
    moved = np.roll(painted, (20, 40), (0, 1))
    server.ask(f"{at}/levels/6", "PUT", moved.tobytes())
    assert server.ask(f"{at}/between", "POST", {"first": 2, "last": 6}).json()["painted"] == [2, 3, 4, 5, 6]
    half = np.frombuffer(server.ask(f"{at}/levels/4").body, np.uint8).reshape(120, 160)
    ys, xs = np.nonzero(half == 0)
    assert (round(xs.mean()), round(ys.mean())) == (64, 70) and abs(len(ys) - 600) < 30
    server.ask(f"{at}/run/remove", "POST")
    state = server.wait(project, ended)
    assert state["result"]["fresh"], state["jobs"]
    record = json.loads(server.ask(f"{at}/files/record").body)
    assert "painted.mkv" in json.dumps(record["request"])
    server.ask(f"{at}/levels/4", "DELETE")
    assert server.state(project)["painted"] == [2, 3, 5, 6] and not server.state(project)["result"]["fresh"]
    # what another window painted is told by its revision
    revs = server.state(project)["paint_revs"]
    server.ask(f"{at}/levels/2", "PUT", moved.tobytes())
    now = server.state(project)["paint_revs"]
    assert now["2"] != revs["2"] and now["3"] == revs["3"]
    for body, why in ((b"12", "a byte a pixel"), (bytes([7]) * (120 * 160), "0, 63, 127 and 255")):
        assert why in error(server.ask(f"{at}/levels/2", "PUT", body))
    assert "painted frames" in error(server.ask(f"{at}/between", "POST", {"first": 0, "last": 1}))


@pytest.mark.parametrize(
    ("path", "method", "body", "code"),
    [
        ("/projects/../../etc/passwd", "GET", None, 404),
        ("/projects/..%2f..%2fetc%2fpasswd", "GET", None, 404),
        ("/projects/%2e%2e/files/video", "GET", None, 404),
        ("/projects/0123456789abcdef", "GET", None, 404),
        ("/projects/ID/files/..%2f..%2fdocument.json", "GET", None, 404),
        ("/projects/ID/files/video", "GET", None, 404),
        ("/projects/ID/frames/before/999", "GET", None, 404),
        ("/projects/ID/frames/..%2fbefore/0", "GET", None, 404),
        ("/projects/ID/levels/-1", "GET", None, 404),
        ("/projects/ID/run/erase", "POST", None, 422),
        ("/projects/ID", "PATCH", {"clip": "/etc/passwd"}, 400),
        ("/projects/ID", "PATCH", {"choices": {"model": "/etc"}}, 400),
        ("/projects/ID", "PATCH", {"choices": {"vlm_url": "http://10.0.0.1"}}, 400),
        ("/projects/ID", "PATCH", {"choices": {"certificate": "/etc/passwd"}}, 400),
        ("/projects/ID", "PATCH", {"points": [{"x": "nan", "y": 0, "frame": 0}]}, 400),
        ("/projects/ID", "PATCH", {"ways": {"a": {"path": [{"frame": 500, "x": 1, "y": 1}]}}}, 400),
        ("/projects/ID", "PATCH", {"pick": [0]}, 400),
        ("/projects/ID", "PATCH", [1], 400),
        ("/projects/ID/click", "POST", {"frame": 0}, 400),
        ("/projects/ID/run/remove", "POST", None, 400),
        ("/examples/..%2f..%2fetc", "POST", None, 404),
        ("/../../../etc/passwd", "GET", None, 404),
    ],
)
def test_no_request_leads_out_of_the_workspace(
    server: Server, shared_project: str, path: str, method: str, body: object, code: int
) -> None:
    answer = server.ask(API + path.replace("ID", shared_project), method, body)
    assert answer.code == code, answer.body
    assert b"root:" not in answer.body and b"Traceback" not in answer.body


@pytest.fixture(scope="module")
def shared_project(server: Server, scene: bytes) -> str:
    return made(server, scene)


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/upload",
        "/gradio_api/proxy=http://127.0.0.1:1/",
        "/gradio_api/run/predict",
        "/gradio_api/queue/join",
        "/gradio_api/info",
        "/config",
        "/docs",
        "/openapi.json",
        "/monitoring",
        "/studio/static/../server.py",
        "/studio/static/..%2fserver.py",
    ],
)
def test_doors_of_gradio_that_the_page_does_not_need_are_shut(server: Server, path: str) -> None:
    for method in ("GET", "POST"):
        assert server.ask(path, method, b"" if method == "POST" else None).code in (404, 405)


def test_other_sites_are_refused(server: Server, shared_project: str) -> None:
    at, host = f"{API}/projects/{shared_project}", urlsplit(server.address).netloc
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
        {"Host": "evil.example"},
    ):
        for method, body in (("GET", None), ("PATCH", {"prompt": "x"}), ("POST", b"")):
            assert server.ask(at, method, body, headers).code == 403
    assert server.ask(at, "PATCH", {"prompt": "ours"}, {"Origin": f"http://{host}"}).code == 200
    # a link from elsewhere may open the page, and no one may frame it
    page = server.ask("/", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})
    assert page.code == 200
    assert "frame-ancestors 'self'" in page.headers["content-security-policy"]
    assert "connect-src 'self'" in page.headers["content-security-policy"]


def test_uploads_are_judged_by_what_they_are(server: Server, scene: bytes, tmp_path: Path) -> None:
    before = len(server.ask(f"{API}/projects").json()["projects"])
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(scene)
    for name, content in (
        ("film.mp4", b"<script>alert(1)</script>"),
        ("film.mp4", b""),
        ("film.mp4", b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://" + str(secret).encode() + b"\n"),
        ("film.mp4", b"ffconcat version 1.0\nfile '" + str(secret).encode() + b"'\n"),
        ("film.png", b"\x89PNG\r\n\x1a\n" + bytes(100)),
    ):
        assert "not a video" in error(server.upload(name, content)) or "frame" in error(
            server.upload(name, content)
        )
    cut = server.upload("cut.mp4", scene[: len(scene) // 2])
    assert cut.code == 200, "what is whole of it can be used, and it is said"
    state = server.wait(cut.json()["id"], ended)
    assert 0 < state["clip"]["frames"] < 12 and "cut off or damaged" in state["clip"]["warnings"][0]
    before += 1
    large = error(server.upload("large.mp4", bytes(11_000_000)))
    assert large == "large.mp4: more than 0.01 GB; cut out the part that matters, or use the command line"
    assert len(server.ask(f"{API}/projects").json()["projects"]) == before, "nothing is left behind"


def test_two_gigabytes_are_refused_by_what_is_announced(server: Server) -> None:
    parts = urlsplit(server.address)
    with socket.create_connection((parts.hostname, parts.port)) as wire:
        wire.settimeout(30)
        head = f"POST {API}/projects?name=a.mp4 HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {2**31}\r\n\r\n"
        wire.sendall(head.encode() + bytes(1000))
        assert b"400" in wire.recv(4096).split(b"\r\n")[0]


@pytest.mark.long
def test_a_small_file_with_a_huge_picture_costs_nothing(server: Server, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.mkv"
    with av.open(str(bomb), "w") as container:
        stream = container.add_stream("ffv1", rate=1)
        stream.width, stream.height, stream.pix_fmt = 16000, 8000, "gray"
        frame = av.VideoFrame.from_ndarray(np.zeros((8000, 16000), np.uint8), format="gray")
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    content = bomb.read_bytes()
    assert len(content) < 10_000_000
    assert "16000x8000 pixels; 38 million at most" in error(server.upload("bomb.mkv", content))


def test_names_are_only_names(server: Server, scene: bytes) -> None:
    name = "../../<img src=x onerror=alert(1)>\r\nX: y.mp4"
    project = made(server, scene, name)
    assert server.state(project)["document"]["name"] == Path(name).stem[:100]
    (root,) = (server.workspace / "projects").glob(project)
    assert [path.name for path in (root / "clip").iterdir()] == ["clip.mp4"]
    answer = server.ask(f"{API}/projects/{project}/files/project")
    assert answer.code == 200 and "\r\n" not in answer.headers["content-disposition"]
    server.ask(f"{API}/projects/{project}", "DELETE")
    assert server.ask(f"{API}/projects/{project}").code == 404 and not root.exists()


def test_a_password_is_asked_for_everywhere(new_server: Callable[..., Server]) -> None:
    server = new_server("--host", "0.0.0.0", AFTERMATH_STUDIO_PASSWORD="söhn:1")
    server.address = server.address.replace("0.0.0.0", "127.0.0.1")
    right = {"Authorization": "Basic " + base64.b64encode("me:söhn:1".encode()).decode()}
    for path in ("/", f"{API}/projects", "/studio/static/studio.js", "/theme.css"):
        assert server.ask(path).code == 401
        for wrong in ("Basic bWU6bm8=", "Basic %%%", "Bearer x", ""):
            assert server.ask(path, headers={"Authorization": wrong}).code == 401
        assert server.ask(path, headers=right).code == 200
    # under any name, for who has the password; still not for other sites
    assert server.ask("/", headers=right | {"Host": "studio.lan"}).code == 200
    assert server.ask("/", headers=right | {"Origin": "http://evil.example"}).code == 403


def test_bad_options_are_one_line(cli: Callable, tmp_path: Path) -> None:
    for words, told in (
        (["--host", "0.0.0.0"], "host 0.0.0.0: must not be reached by others without a password"),
        ([str(tmp_path / "none.mp4")], "not a video"),
        (["--host", "203.0.113.9", "--password", "x"], "cannot be used"),
    ):
        done = cli("studio", *words, "--workspace", tmp_path / "w", "--no-browser", "--port", "0")
        assert done.returncode == 2, done.stderr
        assert told in done.stderr and len(done.stderr.splitlines()) == 1
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = cli("studio", "--port", taken.getsockname()[1], "--workspace", tmp_path / "w", "--no-browser")
        assert done.returncode == 2 and "give another with --port" in done.stderr


@pytest.mark.long
def test_a_hosted_demo_keeps_strangers_apart(
    new_server: Callable[..., Server], scene: bytes, tmp_path: Path
) -> None:
    server = new_server("app.py", HOST="127.0.0.1", PORT="0", AFTERMATH_WORKSPACE=str(tmp_path))
    first, second = (server.ask(f"{API}/examples/collision", "POST").json()["id"] for _ in range(2))
    assert first != second, "each visitor has one of their own"
    listed = server.ask(f"{API}/projects").json()
    assert listed["projects"] == [] and "collision" in listed["examples"]
    # keys of the server are not spent by strangers
    answer = server.ask(f"{API}/projects/{first}", "PATCH", {"choices": {"reasoner": "gemini"}})
    assert "is not offered here" in error(answer)
    # what was left a day ago goes when somebody comes
    document = tmp_path / "projects" / second / "document.json"
    server.wait(second, ended)
    os.utime(document, (0, 0))
    made(server, scene)
    assert not document.exists() and (tmp_path / "projects" / first).exists()


def test_several_pieces_go_by_themselves_between_painted_frames() -> None:
    first, last = np.full((2, 100, 200), 255, np.uint8)
    first[10:20, 10:20] = last[40:50, 10:20] = 0  # one falls
    first[60:80, 150:180] = last[60:80, 150:180] = 0  # a larger one stays
    first[60:70, 20:40] = last[60:70, 60:80] = 127
    half = between(first, last, 0.5)
    assert (half[60:80, 150:180] == 0).mean() > 0.98
    assert (half[26:34, 11:19] == 0).all() and (half[10:20, 10:20] == 255).all()
    assert (half[61:69, 41:59] == 127).all() and (half == 127).sum() < 230


@pytest.mark.long
def test_a_removal_does_what_waits_to_be_looked_for(server: Server, scene: bytes) -> None:
    busy, project = made(server, scene), made(server, scene)
    for one in (busy, project):
        server.ask(f"{API}/projects/{one}", "PATCH", {"boxes": [BOX]})
    server.ask(f"{API}/projects/{busy}/run/remove", "POST")
    for kind in ("mask", "remove", "remove"):
        server.ask(f"{API}/projects/{project}/run/{kind}", "POST")
    jobs = server.wait(project, ended)["jobs"]
    assert [(job["kind"], job["state"]) for job in jobs[-2:]] == [("mask", "stopped"), ("remove", "done")]


@pytest.mark.long
def test_options_of_the_command_are_what_a_project_begins_with(
    new_server: Callable[..., Server], scene: bytes
) -> None:
    secret = "http://127.0.0.1:9/v1"
    server = new_server(
        "--codec", "ffv1", "--seed", 7, "--no-credentials", "--vlm-url", secret, "--engine", "draft"
    )
    project = made(server, scene)
    choices = server.state(project)["document"]["choices"]
    assert (choices["codec"], choices["seed"], choices["credentials"], choices["engine"]) == (
        "ffv1",
        7,
        False,
        "draft",
    )
    at = f"{API}/projects/{project}"
    server.ask(at, "PATCH", {"boxes": [BOX]})
    server.ask(f"{at}/run/remove", "POST")
    state = server.wait(project, ended)
    assert state["result"]["name"] == "result.mkv" and state["result"]["credentials"]
    assert secret not in json.dumps(state) and secret not in json.dumps(server.ask(f"{API}/projects").json())
