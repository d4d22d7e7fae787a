// Package apply makes objects of any kind in one API server as declared, by
// server-side apply: what would change is found by a dry run at the server, so that
// defaults and webhooks count, and only what differs is written. A dry run of the
// whole also works on an empty cluster: what the same run would make first (a
// namespace, a definition) counts as there.
//
// It owns ordering, waiting and comparing; it knows nothing of sdn-tunnel's objects.
// Secrets are compared in full and shown redacted.
package apply
