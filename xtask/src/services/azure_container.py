"""Creates a container: ENDPOINT ACCOUNT KEY CONTAINER. Signed with the shared key, as the service wants it."""

import base64
import hashlib
import hmac
import sys
import urllib.parse
import urllib.request
from email.utils import formatdate

endpoint, account, key, container = sys.argv[1:]
url = f"{endpoint}/{container}"
headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
shown = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
# The method, then eleven standard headers that are not sent.
text = "PUT" + "\n" * 12 + shown + f"/{account}{urllib.parse.urlsplit(url).path}\nrestype:container"
signature = hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()
headers["Authorization"] = f"SharedKey {account}:{base64.b64encode(signature).decode()}"
# No content type: urllib would add one, which is signed.
request = urllib.request.Request(f"{url}?restype=container", method="PUT", headers=headers)
with urllib.request.urlopen(request, timeout=30) as answer:
    assert answer.status == 201, answer.status
