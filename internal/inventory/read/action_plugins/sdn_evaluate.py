"""Writes some variables of a host, evaluated, as JSON into a file that only its owner reads.

Values never appear in arguments or results. A variable that cannot be evaluated is named
with the reason; one that is not set is left out.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json
import os

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        values, errors = {}, {}
        for name in self._task.args["variables"]:
            if name not in task_vars:
                continue
            try:
                values[name] = self._templar.template(task_vars[name], fail_on_undefined=True)
                json.dumps(values[name], default=str)
            except (AnsibleError, ValueError, TypeError) as e:
                values.pop(name, None)
                errors[name] = str(e)
        body = {
            "values": values,
            "names": sorted(str(name) for name in task_vars),
            "errors": errors,
            "folder": task_vars.get("inventory_dir"),
            "order": list(task_vars.get("groups", {}).get("clusters", [])),
        }
        name = task_vars["inventory_hostname"].replace("/", "_") + ".json"
        path = os.path.join(self._task.args["folder"], name)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            json.dump(body, out, default=str)
        return {"changed": False}
