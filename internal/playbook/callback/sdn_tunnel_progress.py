"""Tells sdn-tunnel how a playbook gets on.

A notification callback beside Ansible's own output: it writes one JSON object a line
to the file (a FIFO) that SDN_TUNNEL_PROGRESS names, and nothing if there is none.
Results of tasks with no_log carry no message.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = """
    name: sdn_tunnel_progress
    type: notification
    short_description: progress of a playbook as JSON lines
    description:
      - Writes plays, tasks and results as JSON lines to the file named by SDN_TUNNEL_PROGRESS.
    requirements:
      - enabled by ANSIBLE_CALLBACKS_ENABLED
"""

import json
import os

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "sdn_tunnel_progress"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args, **kwargs):
        super(CallbackModule, self).__init__(*args, **kwargs)
        path = os.environ.get("SDN_TUNNEL_PROGRESS")
        self.out = open(path, "w") if path else None
        self.play = ""

    def emit(self, event, **fields):
        if self.out is None:
            return
        fields["event"] = event
        fields["play"] = self.play
        try:
            self.out.write(json.dumps(fields, default=str) + "\n")
            self.out.flush()
        except (OSError, ValueError):
            self.out = None  # nobody listens any more; the playbook goes on

    def v2_playbook_on_play_start(self, play):
        self.play = play.get_name().strip()
        self.emit("play")

    def v2_playbook_on_task_start(self, task, is_conditional):
        self.emit("task", **self.names(task))

    def v2_runner_on_start(self, host, task):
        self.emit("start", host=host.get_name(), **self.names(task))

    def v2_runner_on_ok(self, result):
        changed = result._result.get("changed", False)
        self.result(result, "changed" if changed else "ok")

    def v2_runner_on_skipped(self, result):
        self.result(result, "skipped")

    def v2_runner_on_unreachable(self, result):
        self.result(result, "unreachable")

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self.result(result, "ignored" if ignore_errors else "failed")

    def v2_runner_retry(self, result):
        self.result(result, "retry")

    def v2_playbook_on_stats(self, stats):
        hosts = {}
        for host in sorted(stats.processed):
            hosts[host] = stats.summarize(host)
        self.emit("stats", hosts=hosts)

    @staticmethod
    def names(task):
        role = task._role.get_name() if task._role else ""
        name = task.get_name().strip()
        if role and name.startswith(role + " : "):
            name = name[len(role) + 3:]
        return {"task": name, "role": role}

    def result(self, result, status):
        body = result._result
        message = ""
        if not body.get("_ansible_no_log", False) and status in ("failed", "unreachable", "ignored"):
            message = str(body.get("msg") or body.get("stderr") or "")
            if message == "All items completed" or message == "One or more items failed":
                items = [i for i in body.get("results", []) if isinstance(i, dict) and i.get("failed")]
                if not any(i.get("_ansible_no_log", False) for i in items):
                    message = "; ".join(str(i.get("msg", "")) for i in items) or message
        warnings, changes = [], []
        if not body.get("_ansible_no_log", False):
            warnings = [str(w) for w in body.get("warnings", []) or []]
            if isinstance(body.get("changes"), list):
                changes = [str(c) for c in body["changes"]]
        self.emit(
            "result",
            host=result._host.get_name(),
            status=status,
            message=message,
            warnings=warnings,
            changes=changes,
            **self.names(result._task)
        )
