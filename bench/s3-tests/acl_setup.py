"""Canned ACLs of a test's set-up, translated to the bucket policy that allows the same.

Some tests are about CORS, presigned URLs or anonymous requests, and use `public-read` only to get a
bucket that everyone may read. Coffer shares by policy alone. For these tests, which `known.toml`
lists, the ACL is taken off the request and a policy is put on the bucket instead; the test itself
stays as it is.
"""

import json

from botocore.client import BaseClient

CANNED = ("public-read", "public-read-write")


def statement(actions, resource):
    return {
        "Effect": "Allow",
        "Principal": {"AWS": "*"},
        "Action": actions,
        "Resource": f"arn:aws:s3:::{resource}",
    }


class Translation:
    """Stands between the test and its clients; on only while a listed test runs."""

    def __init__(self):
        self.on = False
        self.statements = {}
        self.call = BaseClient._make_api_call

    def install(self):
        def translated(client, operation, arguments):
            return self.translate(client, operation, arguments)

        BaseClient._make_api_call = translated

    def begin(self, on):
        self.on = on
        self.statements = {}

    def translate(self, client, operation, arguments):
        acl = arguments.get("ACL")
        if not self.on or acl not in CANNED:
            return self.call(client, operation, arguments)
        rest = {name: value for name, value in arguments.items() if name != "ACL"}
        bucket = rest["Bucket"]
        answer = {}
        # An ACL on a bucket that is there becomes the policy alone.
        if operation != "PutBucketAcl":
            answer = self.call(client, operation, rest)
        wanted = self.statements.setdefault(bucket, [])
        if "Key" in rest:
            wanted.append(statement(["s3:GetObject"], f"{bucket}/{rest['Key']}"))
        else:
            wanted.append(statement(["s3:ListBucket"], bucket))
            if acl == "public-read-write":
                wanted.append(statement(["s3:PutObject", "s3:DeleteObject"], f"{bucket}/*"))
        policy = json.dumps({"Version": "2012-10-17", "Statement": wanted})
        self.call(client, "PutBucketPolicy", {"Bucket": bucket, "Policy": policy})
        return answer
