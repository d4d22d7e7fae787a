package lab

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/files"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/pki"
)

// kubeconfig is a file with everything inline and one context called name. An empty
// client logs in as nobody.
func kubeconfig(name, server string, ca []byte, client pki.Pair) ([]byte, error) {
	c := clientcmdapi.NewConfig()
	addContext(c, name, server, ca, client)
	return clientcmd.Write(*c)
}

func addContext(c *clientcmdapi.Config, name, server string, ca []byte, client pki.Pair) {
	c.Clusters[name] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: ca}
	c.AuthInfos[name] = &clientcmdapi.AuthInfo{ClientCertificateData: client.Cert, ClientKeyData: client.Key}
	c.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	if c.CurrentContext == "" {
		c.CurrentContext = name
	}
}

// mergeKubeconfigs writes the users' kubeconfig: a context per cluster.
func (l *Lab) mergeKubeconfigs() error {
	all := clientcmdapi.NewConfig()
	for _, c := range l.Clusters {
		one, err := clientcmd.LoadFromFile(filepath.Join(l.controlPlaneDir(c), "pki", "admin.kubeconfig"))
		if err != nil {
			return err
		}
		all.Clusters[c.Name] = one.Clusters[c.Name]
		all.AuthInfos[c.Name] = one.AuthInfos[c.Name]
		all.Contexts[c.Name] = one.Contexts[c.Name]
	}
	all.CurrentContext = l.Clusters[0].Name
	b, err := clientcmd.Write(*all)
	if err != nil {
		return err
	}
	return os.WriteFile(l.KubeconfigPath(), b, 0o600)
}

// writeInventory writes the Ansible inventory of the lab.
func (l *Lab) writeInventory() error {
	text, err := files.Render("hosts.yml.tmpl", map[string]any{
		"Clusters": l.Clusters, "Kubeconfig": l.KubeconfigPath(), "Key": l.SSHKeyPath(), "KnownHosts": l.path("ssh", "known_hosts"),
		"CoreDNSImage": coreDNSImage,
	})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(l.InventoryPath()), 0o755); err != nil {
		return err
	}
	return os.WriteFile(l.InventoryPath(), []byte(text), 0o644)
}

// writeSSH makes the users' key, one host key for all nodes, and known_hosts.
func (l *Lab) writeSSH() error {
	if err := os.MkdirAll(l.path("ssh"), 0o700); err != nil {
		return err
	}
	for _, name := range []string{"id_ed25519", "host_ed25519"} {
		private, public, err := pki.SSHKey("sdn-tunnel-lab")
		if err != nil {
			return err
		}
		for suffix, content := range map[string][]byte{"": private, ".pub": public} {
			if err := os.WriteFile(l.path("ssh", name+suffix), content, 0o600); err != nil {
				return err
			}
		}
	}
	return l.writeKnownHosts()
}

// writeKnownHosts writes what the nodes' sshd show themselves with: the same key, all.
func (l *Lab) writeKnownHosts() error {
	public, err := os.ReadFile(l.path("ssh", "host_ed25519.pub"))
	if err != nil {
		return err
	}
	var known bytes.Buffer
	for _, c := range l.Clusters {
		for _, n := range c.Nodes {
			fmt.Fprintf(&known, "%s,%s %s", n.Address, n.Name, public)
		}
	}
	return os.WriteFile(l.path("ssh", "known_hosts"), known.Bytes(), 0o644)
}
