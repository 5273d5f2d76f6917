"""Browser forms signed by version 2, signed anew by version 4.

The suite signs its forms by version 2 only, which Coffer does not know. A form that is signed
rightly gets a right signature, one that is signed wrongly a wrong one; what is missing stays
missing. The policy gets conditions for the fields that come with version 4, since all fields must
be named there. All else stays as it is.
"""

import base64
import datetime
import hashlib
import hmac
import json

import requests

REGION = "us-east-1"
ALGORITHM = "AWS4-HMAC-SHA256"


def install(secrets):
    """Stands before `requests.post`; `secrets()` are the secret keys that there are."""
    send = requests.post

    def post(url, *arguments, files=None, **options):
        if files is not None:
            files = sign_anew(files, secrets())
        return send(url, *arguments, files=files, **options)

    requests.post = post


def sign_anew(fields, secrets):
    """A form's fields, in their order, with version 4's in the place of version 2's."""
    values = {name.lower(): value for name, value in fields.items()}
    if "awsaccesskeyid" not in values:
        return fields
    now = datetime.datetime.now(datetime.timezone.utc)
    day = now.strftime("%Y%m%d")
    extra = {
        "x-amz-algorithm": ALGORITHM,
        "x-amz-credential": f"{values['awsaccesskeyid']}/{day}/{REGION}/s3/aws4_request",
        "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ"),
    }
    policy = as_bytes(values.get("policy", b""))
    wider = with_conditions(policy, extra)
    signature = as_bytes(values.get("signature", b""))
    signer = next((s for s in secrets if version_2(s, policy) == signature), None)
    # A signature by nobody stays one.
    signed = version_4(signer, day, wider) if signer else "0" * 64
    anew = {}
    for name, value in fields.items():
        match name.lower():
            case "awsaccesskeyid":
                anew.update(extra)
            case "signature":
                anew["x-amz-signature"] = signed
            case "policy":
                anew[name] = wider
            case _:
                anew[name] = value
    return anew


def as_bytes(value):
    return value.encode() if isinstance(value, str) else value


def with_conditions(policy, fields):
    """The policy, allowing these fields as well; as it is where it is none."""
    try:
        document = json.loads(base64.b64decode(policy))
        document["conditions"].extend({name: value} for name, value in fields.items())
    except (ValueError, KeyError, AttributeError, TypeError):
        return policy
    return base64.b64encode(json.dumps(document).encode())


def version_2(secret, policy):
    return base64.b64encode(hmac.new(secret.encode(), policy, hashlib.sha1).digest())


def version_4(secret, day, policy):
    key = b"AWS4" + secret.encode()
    for part in (day, REGION, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, policy, hashlib.sha256).hexdigest()
