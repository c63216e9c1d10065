"""Puts the files of a folder into an S3 server, as another tool than Ropewalk would.

Usage: s3_put.py FOLDER s3://BUCKET/PREFIX, with AWS_ENDPOINT_URL and the keys in the environment. Only the standard
library is used; the signature is that of "Signature Version 4" in the documentation of Amazon S3.
"""

import datetime
import hashlib
import hmac
import os
import pathlib
import sys
import urllib.parse
import urllib.request

REGION = "us-east-1"
SIGNED = "host;x-amz-content-sha256;x-amz-date"


def hmac_sha256(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def put(endpoint: str, path: str, body: bytes) -> None:
    key, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    payload, host, path = hashlib.sha256(body).hexdigest(), urllib.parse.urlparse(endpoint).netloc, urllib.parse.quote(path)
    headers = {"host": host, "x-amz-content-sha256": payload, "x-amz-date": now}
    canonical = "".join(f"{name}:{value}\n" for name, value in headers.items())
    request = f"PUT\n{path}\n\n{canonical}\n{SIGNED}\n{payload}"
    scope = f"{now[:8]}/{REGION}/s3/aws4_request"
    digest = hashlib.sha256(request.encode()).hexdigest()
    signing = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        signing = hmac_sha256(signing, part)
    signature = hmac_sha256(signing, f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{digest}").hex()
    headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={SIGNED}, Signature={signature}"
    with urllib.request.urlopen(urllib.request.Request(endpoint + path, body, headers, method="PUT")) as answer:
        assert answer.status == 200, answer.status


def main() -> None:
    folder, url = pathlib.Path(sys.argv[1]), sys.argv[2].removeprefix("s3://").rstrip("/")
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            put(os.environ["AWS_ENDPOINT_URL"].rstrip("/"), f"/{url}/{file.relative_to(folder)}", file.read_bytes())


if __name__ == "__main__":
    main()
