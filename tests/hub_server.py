"""A server that speaks as much of the hub's protocol as huggingface_hub needs to fetch and publish files."""

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_" + "t" * 34
_RESOLVE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_API = re.compile(r"/api/models/([^/]+/[^/]+)/(preupload|commit)/([^/]+)")
_BATCH = re.compile(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch")


@dataclass
class Repository:
    """Commits, oldest first: id and content by file; the last is `main`."""

    commits: list = field(default_factory=list)
    private: bool = False
    gated: bool = False

    def add(self, **files):
        """Commit files on top of what is there; names have `__` for a dot."""
        before = self.commits[-1][1] if self.commits else {}
        content = before | {name.replace("__", "."): data for name, data in files.items()}
        self.commits.append((hashlib.sha1(f"{len(self.commits)}".encode()).hexdigest(), content))
        return self.commits[-1][0]

    def at(self, revision):
        """Return (commit, files) of a revision, or None."""
        known = {name: pair for pair in self.commits for name in (pair[0], "main")}
        return known.get(revision)


@dataclass
class Hub:
    """What the server knows, and each request as METHOD PATH."""

    endpoint: str = ""
    repositories: dict = field(default_factory=dict)
    blobs: dict = field(default_factory=dict)
    requests: list = field(default_factory=list)

    def repository(self, name, **options):
        """Make a repository."""
        return self.repositories.setdefault(name, Repository(**options))


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self):
        return self.server.hub

    def log_message(self, *_args):
        pass

    def answer(self, status, content=b"", **headers):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", len(data))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def body(self):
        if self.headers.get("Transfer-Encoding", "") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        content = b""
        while size := int(self.rfile.readline(), 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    def refuse(self, status, code):
        self.answer(status, {"error": code}, X_Error_Code=code, X_Error_Message=code)

    @property
    def logged_in(self):
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def do_HEAD(self):
        self.hub.requests.append(f"{self.command} {self.path}")
        if found := re.fullmatch(r"/cdn/(\w+)", self.path):
            return self.answer(200, self.hub.blobs[found[1]])
        match = _RESOLVE.fullmatch(self.path)
        repository = match and self.hub.repositories.get(match[1])
        if repository is None or (repository.private and not self.logged_in):
            return self.refuse(401, "RepoNotFound")
        if repository.gated and not self.logged_in:
            return self.refuse(401, "GatedRepo")
        commit, files = repository.at(match[2]) or (None, {})
        if commit is None:
            return self.refuse(404, "RevisionNotFound")
        if match[3] not in files:
            self.answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
            return None
        data = files[match[3]]
        oid = sha256(data)
        self.hub.blobs.setdefault(oid, data)
        host = self.headers["Host"].replace("127.0.0.1", "localhost")  # as large files lie elsewhere
        return self.answer(
            302,
            X_Repo_Commit=commit,
            X_Linked_Etag=f'"{oid}"',
            X_Linked_Size=str(len(data)),
            ETag='"of-the-pointer"',
            Location=f"http://{host}/cdn/{oid}",
        )

    do_GET = do_HEAD  # noqa: N815

    def do_PUT(self):
        self.hub.requests.append(f"PUT {self.path}")
        data = self.body()
        self.hub.blobs[sha256(data)] = data
        self.answer(200)

    def do_POST(self):
        self.hub.requests.append(f"POST {self.path}")
        body = self.body()
        if not self.logged_in:
            return self.refuse(401, "Unauthorized")
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            if asked["organization"] == "others":
                return self.answer(403, {"error": "You don't have the rights to create a model here"})
            name = f"{asked['organization']}/{asked['name']}"
            if name in self.hub.repositories:
                return self.answer(409, {"url": f"{self.hub.endpoint}/{name}"})
            self.hub.repository(name, private=asked.get("visibility") == "private")
            return self.answer(200, {"url": f"{self.hub.endpoint}/{name}", "name": name})
        if self.path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        if match := _BATCH.fullmatch(self.path):
            objects = [
                {**one, "actions": {"upload": {"href": f"{self.hub.endpoint}/upload/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            return self.answer(200, {"transfer": "basic", "objects": objects})
        match = _API.fullmatch(self.path)
        if match[2] == "preupload":
            files = [
                {
                    "path": one["path"],
                    "uploadMode": "regular" if one["path"].endswith(".md") else "lfs",
                    "shouldIgnore": False,
                }
                for one in json.loads(body)["files"]
            ]
            return self.answer(200, {"files": files})
        return self.commit(match[1], [json.loads(line) for line in body.splitlines()])

    def commit(self, name, lines):
        files = {}
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.blobs[value["oid"]]
        commit = self.hub.repository(name).add(**files)
        url = f"{self.hub.endpoint}/{name}/commit/{commit}"
        self.answer(200, {"commitUrl": url, "commitOid": commit, "commitMessage": "", "success": True})


@contextmanager
def serve_hub():
    """Serve an empty hub on a free port of this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.hub = Hub(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def use_hub(monkeypatch, endpoint, cache, token=None):
    """Let huggingface_hub, which reads the environment once, talk to that server alone, with its cache."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(cache / "token"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
