package image

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

// Controller is the image of sdn-tunnel-controller: the binary, run by nobody.
func Controller(ref, binary string) Spec {
	return Spec{
		Ref:        ref,
		Files:      map[string]string{"/usr/bin/sdn-tunnel-controller": binary},
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
