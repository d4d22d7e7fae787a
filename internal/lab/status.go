package lab

import (
	"os"

	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/machine"
)

// Status is what lab status shows.
type Status struct {
	Name       string          `json:"name"`
	StateDir   string          `json:"stateDir"`
	Complete   bool            `json:"complete"` // Up went through to its end
	SDNMode    string          `json:"sdnMode"`
	Datapath   string          `json:"datapath"`
	Kubeconfig string          `json:"kubeconfig"`
	Inventory  string          `json:"inventory"`
	SSHKey     string          `json:"sshKey"`
	Clusters   []ClusterStatus `json:"clusters"`
}

// ClusterStatus is one cluster of a Status.
type ClusterStatus struct {
	Name     string       `json:"name"`
	API      string       `json:"api"`
	OAuth    string       `json:"oauth"`
	User     string       `json:"user"`
	Password string       `json:"passwordFile"`
	CA       string       `json:"caFile"`
	Audit    string       `json:"auditLog"`
	Pods     string       `json:"pods"`
	Services string       `json:"services"`
	Up       bool         `json:"up"`
	Nodes    []NodeStatus `json:"nodes"`
}

// NodeStatus is one node of a ClusterStatus.
type NodeStatus struct {
	Name       string `json:"name"`
	Address    string `json:"address"`
	HostSubnet string `json:"hostSubnet"`
	Namespace  string `json:"namespace"`
	Pid        int    `json:"pid"` // of its init, 0 when it is off
}

// Status tells of the lab's machines; it asks no API server.
func (l *Lab) Status() Status {
	s := Status{
		Name: l.Name, StateDir: l.StateDir, SDNMode: l.SDNMode, Datapath: string(datapath()),
		Kubeconfig: l.KubeconfigPath(), Inventory: l.InventoryPath(), SSHKey: l.SSHKeyPath(),
	}
	_, err := os.Stat(l.InventoryPath()) // Up writes it last
	s.Complete = err == nil
	for _, c := range l.Clusters {
		pki := func(name string) string { return l.path("clusters", c.Name, "pki", name) }
		cs := ClusterStatus{
			Name: c.Name, API: c.APIURL(), OAuth: c.OAuthURL(), User: oauthUser, Password: pki("password"), CA: pki("ca.crt"),
			Audit: l.AuditLog(c), Pods: c.Pods.String(), Services: c.Services.String(), Up: loadedPid(l.controlPlaneDir(c)) != 0,
		}
		for _, n := range c.Nodes {
			cs.Nodes = append(cs.Nodes, NodeStatus{
				Name: n.Name, Address: n.Address.String(), HostSubnet: n.HostSubnet.String(),
				Namespace: l.NodeNS(n), Pid: loadedPid(l.nodeDir(n)),
			})
		}
		s.Clusters = append(s.Clusters, cs)
	}
	return s
}

func loadedPid(dir string) int {
	spec, err := machine.Load(dir)
	if err != nil {
		return 0
	}
	return pidOf(spec)
}

// Names lists the labs of this machine, up or half up.
func Names() ([]string, error) {
	entries, err := os.ReadDir(StateRoot)
	if os.IsNotExist(err) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}
