"""Asks a policy about a plan: the plan on standard input, the policy as the one argument, what it says as JSON on standard output."""

import json
import sys

from regopy import Interpreter

rego = Interpreter()
rego.add_module("policy", open(sys.argv[1], encoding="utf-8").read())
rego.set_input(json.load(sys.stdin))
said = {}
for name in ("deny", "secrets", "planned"):
    said[name] = rego.query(f"data.policy.{name}").results[0].expressions[0]
print(json.dumps(said, default=list))
