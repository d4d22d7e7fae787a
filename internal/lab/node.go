package lab

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"

	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/files"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/layout"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/machine"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/pki"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/sdn"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/underlay"
)

const (
	cniBin  = "/opt/cni/bin"
	cniConf = "/etc/cni/net.d"
	ovsDB   = "/run/openvswitch/db.sock"
	runtime = "/run/containerd/containerd.sock"
)

// datapath says whether this kernel has Open vSwitch's datapath.
func datapath() sdn.Datapath {
	if _, err := netlink.GenlFamilyGet("ovs_datapath"); err == nil {
		return sdn.System
	}
	return sdn.Netdev
}

// node writes a node's credentials and describes its machine.
func (l *Lab) node(c layout.Cluster, n layout.Node, creds *credentials) (*machine.Spec, error) {
	dir := l.nodeDir(n)
	configuration, err := l.nodeFiles(c, n, creds)
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", n.Name, err)
	}
	// The plugin's configuration is what makes the kubelet call the node Ready.
	if err := sdn.InstallCNI(filepath.Join(dir, "fs", cniBin), filepath.Join(dir, "fs", cniConf), l.selfCommand("sdn-cni"), ""); err != nil {
		return nil, err
	}
	return &machine.Spec{
		Hostname: n.Name,
		NetNS:    underlay.Path(l.NodeNS(n)),
		Dir:      dir,
		Cgroup:   l.cgroup(n.Name),
		Keep: []string{"/root", "/var/log", "/var/lib/kubelet", "/var/lib/containerd", "/var/lib/cni",
			"/var/lib/sdn-tunnel", "/var/lib/openvswitch", cniBin, cniConf},
		Share: map[string]string{
			l.StateDir:    l.StateDir,
			l.tools.Bin(): l.tools.Bin(),
			filepath.Join(l.tools.Bin(), "host-local"): cniBin + "/host-local",
			filepath.Join(l.tools.Bin(), "loopback"):   cniBin + "/loopback",
		},
		Files:    configuration,
		Services: l.nodeServices(c, n),
	}, nil
}

func (l *Lab) nodeFiles(c layout.Cluster, n layout.Node, creds *credentials) (map[string]string, error) {
	serving, err := creds.ca.Sign(pki.Request{
		CommonName: "system:node:" + n.Name, Organizations: []string{"system:nodes"},
		Names: []string{n.Name}, Addresses: []netip.Addr{n.Address},
	})
	if err != nil {
		return nil, err
	}
	proxy, err := creds.ca.Sign(pki.Request{CommonName: "system:kube-proxy"})
	if err != nil {
		return nil, err
	}
	nodeAccess, err := kubeconfig(c.Name, c.APIURL(), creds.ca.Cert, serving)
	if err != nil {
		return nil, err
	}
	proxyAccess, err := kubeconfig(c.Name, c.APIURL(), creds.ca.Cert, proxy)
	if err != nil {
		return nil, err
	}
	hostKey, err := os.ReadFile(l.path("ssh", "host_ed25519"))
	if err != nil {
		return nil, err
	}
	userKey, err := os.ReadFile(l.path("ssh", "id_ed25519.pub"))
	if err != nil {
		return nil, err
	}
	out := map[string]string{
		"/etc/hostname":                         n.Name + "\n",
		"/etc/hosts":                            fmt.Sprintf("127.0.0.1 localhost\n%s %s\n", n.Address, n.Name),
		"/etc/resolv.conf":                      "# A node of the lab has no resolver; its pods have the cluster's.\n",
		"/etc/kubernetes/ca.crt":                string(creds.ca.Cert),
		"/etc/kubernetes/kubelet.crt":           string(serving.Cert),
		"/etc/kubernetes/kubelet.key":           string(serving.Key),
		"/etc/kubernetes/kubelet.kubeconfig":    string(nodeAccess),
		"/etc/kubernetes/kube-proxy.kubeconfig": string(proxyAccess),
		"/etc/kubernetes/manifests/.keep":       "",
		"/etc/ssh/lab_host.key":                 string(hostKey),
		"/etc/ssh/lab_authorized_keys":          string(userKey),
	}
	rendered, err := renderAll(map[string]string{
		"/etc/containerd/config.toml":     "containerd.toml.tmpl",
		"/etc/kubernetes/kubelet.yaml":    "kubelet.yaml.tmpl",
		"/etc/kubernetes/kube-proxy.yaml": "kube-proxy.yaml.tmpl",
	}, map[string]any{
		"PauseImage": pauseImage, "Tools": l.tools.Bin(), "Address": n.Address,
		"ClusterDNS": c.ServiceAddress(10), "Name": n.Name, "Pods": c.Pods,
	})
	maps.Copy(out, rendered)
	return out, err
}

func renderAll(templates map[string]string, data any) (map[string]string, error) {
	out := map[string]string{}
	for path, name := range templates {
		text, err := files.Render(name, data)
		if err != nil {
			return nil, err
		}
		out[path] = text
	}
	return out, nil
}

func (l *Lab) nodeServices(c layout.Cluster, n layout.Node) []machine.Service {
	bin := func(name string) string { return filepath.Join(l.tools.Bin(), name) }
	vswitchd := []string{"ovs-vswitchd", "unix:" + ovsDB, "--pidfile=/run/openvswitch/ovs-vswitchd.pid", "-vconsole:info"}
	kind := datapath()
	if kind == sdn.Netdev {
		vswitchd = append(vswitchd, "--disable-system")
	}
	return []machine.Service{
		{Name: "ovsdb-server",
			Before: [][]string{
				{"mkdir", "-p", "/run/openvswitch", "/etc/openvswitch", "/var/log/openvswitch"},
				{"sh", "-c", "test -s /etc/openvswitch/conf.db || ovsdb-tool create /etc/openvswitch/conf.db /usr/share/openvswitch/vswitch.ovsschema"},
				{"rm", "-f", "/etc/openvswitch/.conf.db.~lock~", ovsDB},
			},
			Args: []string{"ovsdb-server", "/etc/openvswitch/conf.db", "--remote=punix:" + ovsDB,
				"--pidfile=/run/openvswitch/ovsdb-server.pid", "-vconsole:info"}},
		{Name: "ovs-vswitchd", After: []string{ovsDB},
			Before: [][]string{{"ovs-vsctl", "--timeout=10", "--no-wait", "init"}}, Args: vswitchd},
		{Name: "sdn-node", After: []string{ovsDB, l.sdnInstalled(c)}, Args: l.selfCommand("sdn-node",
			"--node="+n.Name, "--node-ip="+n.Address.String(), "--datapath="+string(kind), "--vtep="+underlay.Vtep,
			"--kubeconfig=/etc/kubernetes/kubelet.kubeconfig", "--mode="+l.SDNMode,
			"--pod-cidr="+c.Pods.String(), "--service-cidr="+c.Services.String(), fmt.Sprintf("--mtu=%d", layout.MTU))},
		{Name: "containerd", Args: []string{bin("containerd"), "--config=/etc/containerd/config.toml"},
			Env: []string{"PATH=" + l.tools.Bin() + ":/usr/sbin:/usr/bin:/sbin:/bin"}},
		{Name: "kubelet", After: []string{runtime, l.imagesLoaded(n), l.apiUp(c)}, Args: []string{bin("kubelet"),
			"--config=/etc/kubernetes/kubelet.yaml", "--kubeconfig=/etc/kubernetes/kubelet.kubeconfig",
			"--hostname-override=" + n.Name, "--node-ip=" + n.Address.String(),
			"--root-dir=/var/lib/kubelet", "--cert-dir=/var/lib/kubelet/pki"}},
		{Name: "kube-proxy", After: []string{l.apiUp(c)}, Args: []string{bin("kube-proxy"), "--config=/etc/kubernetes/kube-proxy.yaml"}},
		{Name: "sshd", Before: [][]string{{"mkdir", "-p", "-m", "0755", "/run/sshd"}}, Args: []string{"/usr/sbin/sshd", "-D", "-e",
			"-f", "/dev/null", "-o", "ListenAddress=" + n.Address.String(), "-o", "HostKey=/etc/ssh/lab_host.key",
			"-o", "PidFile=none", "-o", "UsePAM=no", "-o", "UseDNS=no", "-o", "StrictModes=no",
			"-o", "AuthorizedKeysFile=/etc/ssh/lab_authorized_keys", "-o", "PasswordAuthentication=no",
			"-o", "Subsystem=sftp internal-sftp"}},
	}
}

// imagesLoaded is the mark that a node's runtime has the lab's images.
func (l *Lab) imagesLoaded(n layout.Node) string { return filepath.Join(l.nodeDir(n), "images.loaded") }
