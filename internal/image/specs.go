package image

import "os"

// Agent is the image of sdn-tunnel-agent, from its binary: with the Open vSwitch
// clients and nft, which it runs.
func Agent(ref, binary string) Spec {
	return Spec{
		Ref:          ref,
		Files:        map[string]string{"/usr/bin/sdn-tunnel-agent": binary},
		HostPrograms: []string{"ovs-ofctl", "ovs-vsctl", "ovs-appctl", "nft"},
		Dirs:         []string{"/run", "/tmp", "/var/lib"},
		Symlinks:     map[string]string{"/var/run": "/run"},
		Entrypoint:   []string{"/usr/bin/sdn-tunnel-agent"},
	}
}

// AgentWithKubeRouter is the image of sdn-tunnel-agent with kube-router and what that
// runs, for service_proxy kube-router. tables is the file with the names of routing tables.
func AgentWithKubeRouter(ref, binary, kubeRouter, tables string) Spec {
	s := Agent(ref, binary)
	s.Files["/usr/bin/kube-router"] = kubeRouter
	s.Files["/etc/iproute2/rt_tables"] = tables
	s.HostPrograms = append(s.HostPrograms, "conntrack", "ip", "ip6tables", "ip6tables-save", "ipset", "iptables", "iptables-save", "modprobe")
	s.HostFiles = []string{"/usr/lib/*/xtables/*.so"} // iptables loads them by name
	return s
}

// authorities is where Debian keeps the certificates that the system trusts.
const authorities = "/etc/ssl/certs/ca-certificates.crt"

// Controller is the image of sdn-tunnel-controller: the binary, run by nobody, and the
// host's authorities if it has any, for members with publicly signed certificates.
func Controller(ref, binary string) Spec {
	files := map[string]string{"/usr/bin/sdn-tunnel-controller": binary}
	if _, err := os.Stat(authorities); err == nil {
		files[authorities] = authorities
	}
	return Spec{
		Ref:        ref,
		Files:      files,
		Dirs:       []string{"/tmp"},
		Entrypoint: []string{"/usr/bin/sdn-tunnel-controller"},
		User:       "65532:65532",
	}
}

// TestApp is the image of the test application of samples/.
func TestApp(ref, binary string) Spec {
	return Spec{
		Ref:        ref,
		Files:      map[string]string{"/usr/bin/test-app": binary},
		Dirs:       []string{"/tmp"},
		Entrypoint: []string{"/usr/bin/test-app"},
		User:       "65532:65532",
	}
}
