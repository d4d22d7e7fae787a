// Package lab brings up whole clusters on one machine, from real parts, and takes
// them away again without a trace.
//
// How the pieces fit:
//
//	layout    names and addresses, from a Config (pure)
//	tools     builds the pinned programs of lab/tools once, into a cache
//	underlay  network namespaces, segments, and the filtering router
//	machine   a machine: namespaces, an overlay root, an init that supervises services
//	pki       certificates; oauth: an OpenShift-like login in front of each API
//	files     the configuration files of the machines' services
//	sdn       the OpenShift SDN look-alike: br0, the CNI plugin, OpenShift's objects
//	manifests what runs in each cluster: cluster DNS, MetalLB, access rules
//	dnsoperator the part of OpenShift's DNS operator that every other cluster has
//	labcmd    the commands: lab up, down, status, exec, node, images, tools, logs
//
// Package lab itself puts them together: a control plane is one machine a cluster
// (etcd, kube-apiserver, controller-manager, scheduler, the OAuth front), a node is
// one machine (containerd, kubelet, kube-proxy, Open vSwitch, the SDN, sshd). All
// state is below Config.StateDir; nothing is made in the host's own network
// namespace, and nothing outside the state folder, /run/netns, the lab's control
// group and two limits of inotify, which Down sets back. Down needs no record of what
// Up did: it finds processes by their control group, namespaces by their names and
// files by their folder.
package lab
