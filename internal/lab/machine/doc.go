// Package machine runs a small machine on this one: its own network, mount, uts,
// ipc and pid namespaces, its own root folder made of overlays over the host's
// programs, and an init process that starts, supervises and reaps its services.
//
// Killing a machine's init is a power-off: the kernel ends every process in its pid
// namespace and drops its mounts. Starting it again on the same folder is a boot
// with the same disk. A machine writes only below its own folder; sysctls of the
// whole kernel that its services would set are covered by plain files.
//
// Every process of a machine is a member of its control group from birth, so that
// KillAll finds and ends them even when the records on disk are lost.
package machine
