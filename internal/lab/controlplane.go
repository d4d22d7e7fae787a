package lab

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/files"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/layout"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/machine"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/oauth"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/pki"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/underlay"
)

// credentials are a cluster's authority and what its parts are known by.
type credentials struct {
	ca       *pki.Authority
	password string // of the OAuth user
}

const (
	oauthUser    = "admin"
	webhookPort  = 9443
	clusterAdmin = "system:masters"
)

// controlPlane writes a cluster's credentials and describes its control plane.
func (l *Lab) controlPlane(c layout.Cluster) (*machine.Spec, *credentials, error) {
	dir := l.controlPlaneDir(c)
	p := &planeFiles{dir: filepath.Join(dir, "pki"), cluster: c}
	creds, err := p.write()
	if err != nil {
		return nil, nil, fmt.Errorf("cluster %s: %w", c.Name, err)
	}
	spec := &machine.Spec{
		Hostname: c.Name + "-cp",
		NetNS:    underlay.Path(l.ControlPlaneNS(c)),
		Dir:      dir,
		Cgroup:   l.cgroup(c.Name + "-cp"),
		Share:    map[string]string{l.StateDir: l.StateDir, l.tools.Bin(): l.tools.Bin()},
		Files:    map[string]string{"/etc/resolv.conf": "", "/etc/hosts": "127.0.0.1 localhost\n"},
		Services: l.controlPlaneServices(c, p.dir),
	}
	return spec, creds, nil
}

func (l *Lab) controlPlaneServices(c layout.Cluster, pkiDir string) []machine.Service {
	bin, dir := l.tools.Bin(), l.controlPlaneDir(c)
	file := func(name string) string { return filepath.Join(pkiDir, name) }
	client := func(name string) []string {
		f := file(name + ".kubeconfig")
		return []string{"--kubeconfig=" + f, "--authentication-kubeconfig=" + f, "--authorization-kubeconfig=" + f,
			"--bind-address=127.0.0.1", "--cert-dir=/run/" + name, "--leader-elect=false"}
	}
	kcm := append([]string{filepath.Join(bin, "kube-controller-manager")}, client("kube-controller-manager")...)
	kcm = append(kcm, "--use-service-account-credentials=true", "--service-account-private-key-file="+file("sa.key"),
		"--root-ca-file="+file("ca.crt"), "--cluster-signing-cert-file="+file("ca.crt"), "--cluster-signing-key-file="+file("ca.key"),
		"--allocate-node-cidrs=false", "--node-monitor-period=1s", "--node-monitor-grace-period=8s",
		"--kube-api-qps=100", "--kube-api-burst=200")
	scheduler := append([]string{filepath.Join(bin, "kube-scheduler")}, client("kube-scheduler")...)
	services := []machine.Service{
		{Name: "etcd", Args: []string{filepath.Join(bin, "etcd"), "--name=" + c.Name, "--data-dir=" + filepath.Join(dir, "etcd"),
			"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
			"--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380",
			"--initial-cluster=" + c.Name + "=http://127.0.0.1:2380", "--unsafe-no-fsync", "--log-level=warn"}},
		{Name: "kube-apiserver", Args: l.apiServerArgs(c, file)},
		{Name: "kube-controller-manager", Args: kcm, After: []string{l.apiUp(c)}},
		{Name: "kube-scheduler", Args: scheduler, After: []string{l.apiUp(c)}},
		{Name: "oauth", Args: l.selfCommand("oauth-front", file("oauth.json"))},
		{Name: "sdn-controller", After: []string{l.sdnInstalled(c)}, Args: l.selfCommand("sdn-controller",
			"--kubeconfig="+file("admin.kubeconfig"), "--mode="+l.SDNMode,
			"--pod-cidr="+c.Pods.String(), "--service-cidr="+c.Services.String())},
	}
	if c.DNSOperator {
		services = append(services, machine.Service{Name: "dns-operator", After: []string{l.sdnInstalled(c)},
			Args: l.selfCommand("dns-operator", "--kubeconfig="+file("admin.kubeconfig"))})
	}
	return services
}

// apiUp and sdnInstalled are marks that Up sets when a cluster has got that far.
func (l *Lab) apiUp(c layout.Cluster) string { return l.path("clusters", c.Name, "api.up") }
func (l *Lab) sdnInstalled(c layout.Cluster) string {
	return l.path("clusters", c.Name, "sdn.installed")
}

// AuditLog is the file of a cluster's API server's audit log.
func (l *Lab) AuditLog(c layout.Cluster) string {
	return filepath.Join(l.controlPlaneDir(c), "log", "audit.log")
}

func (l *Lab) apiServerArgs(c layout.Cluster, file func(string) string) []string {
	return []string{filepath.Join(l.tools.Bin(), "kube-apiserver"),
		"--etcd-servers=http://127.0.0.1:2379",
		fmt.Sprintf("--secure-port=%d", layout.APIPort), "--bind-address=0.0.0.0", "--advertise-address=" + c.ControlPlane.String(),
		"--tls-cert-file=" + file("apiserver.crt"), "--tls-private-key-file=" + file("apiserver.key"),
		"--client-ca-file=" + file("ca.crt"),
		"--kubelet-client-certificate=" + file("kubelet-client.crt"), "--kubelet-client-key=" + file("kubelet-client.key"),
		"--kubelet-certificate-authority=" + file("ca.crt"),
		"--kubelet-preferred-address-types=InternalIP",
		"--requestheader-client-ca-file=" + file("front-ca.crt"), "--requestheader-allowed-names=front",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + file("front.crt"), "--proxy-client-key-file=" + file("front.key"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + file("sa.pub"), "--service-account-signing-key-file=" + file("sa.key"),
		"--service-cluster-ip-range=" + c.Services.String(), "--service-node-port-range=30000-32767",
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
		"--authentication-token-webhook-config-file=" + file("oauth-webhook.kubeconfig"),
		"--authentication-token-webhook-version=v1", "--authentication-token-webhook-cache-ttl=10s",
		"--default-not-ready-toleration-seconds=30", "--default-unreachable-toleration-seconds=30",
		"--audit-policy-file=" + file("audit.yaml"), "--audit-log-path=" + l.AuditLog(c),
		"--audit-log-maxsize=100", "--audit-log-maxbackup=2",
	}
}

// planeFiles writes a control plane's files into dir.
type planeFiles struct {
	dir     string
	cluster layout.Cluster
}

func (p *planeFiles) put(name string, content []byte) error {
	return os.WriteFile(filepath.Join(p.dir, name), content, 0o600)
}

func (p *planeFiles) putPair(name string, pair pki.Pair) error {
	if err := p.put(name+".crt", pair.Cert); err != nil {
		return err
	}
	return p.put(name+".key", pair.Key)
}

func (p *planeFiles) write() (*credentials, error) {
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return nil, err
	}
	ca, err := pki.NewAuthority("sdn-tunnel-lab-" + p.cluster.Name)
	if err != nil {
		return nil, err
	}
	if err := p.putPair("ca", ca.Pair); err != nil {
		return nil, err
	}
	if err := p.servers(ca); err != nil {
		return nil, err
	}
	if err := p.clients(ca); err != nil {
		return nil, err
	}
	policy, err := files.Render("audit.yaml", nil)
	if err != nil {
		return nil, err
	}
	if err := p.put("audit.yaml", []byte(policy)); err != nil {
		return nil, err
	}
	creds := &credentials{ca: ca, password: rand.Text()}
	return creds, p.oauth(creds)
}

// servers makes what the control plane serves with and signs with.
func (p *planeFiles) servers(ca *pki.Authority) error {
	front, err := pki.NewAuthority("front-proxy")
	if err != nil {
		return err
	}
	if err := p.putPair("front-ca", front.Pair); err != nil {
		return err
	}
	aggregator, err := front.Sign(pki.Request{CommonName: "front"})
	if err != nil {
		return err
	}
	if err := p.putPair("front", aggregator); err != nil {
		return err
	}
	api, err := ca.Sign(pki.Request{
		CommonName: "kube-apiserver",
		Names:      []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
		Addresses:  []netip.Addr{netip.MustParseAddr("127.0.0.1"), p.cluster.ControlPlane, p.cluster.ServiceAddress(1)},
	})
	if err != nil {
		return err
	}
	if err := p.putPair("apiserver", api); err != nil {
		return err
	}
	kubelet, err := ca.Sign(pki.Request{CommonName: "kube-apiserver-kubelet-client", Organizations: []string{clusterAdmin}})
	if err != nil {
		return err
	}
	if err := p.putPair("kubelet-client", kubelet); err != nil {
		return err
	}
	private, public, err := pki.SigningKey()
	if err != nil {
		return err
	}
	if err := p.put("sa.key", private); err != nil {
		return err
	}
	return p.put("sa.pub", public)
}

func (p *planeFiles) clients(ca *pki.Authority) error {
	for name, r := range map[string]pki.Request{
		"admin":                   {CommonName: "lab-admin", Organizations: []string{clusterAdmin}},
		"kube-controller-manager": {CommonName: "system:kube-controller-manager"},
		"kube-scheduler":          {CommonName: "system:kube-scheduler"},
	} {
		pair, err := ca.Sign(r)
		if err != nil {
			return err
		}
		config, err := kubeconfig(p.cluster.Name, p.cluster.APIURL(), ca.Cert, pair)
		if err != nil {
			return err
		}
		if err := p.put(name+".kubeconfig", config); err != nil {
			return err
		}
	}
	return nil
}

func (p *planeFiles) oauth(creds *credentials) error {
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return err
	}
	webhook := fmt.Sprintf("127.0.0.1:%d", webhookPort)
	file := func(name string) string { return filepath.Join(p.dir, name) }
	config, err := json.MarshalIndent(oauth.Config{
		Listen: fmt.Sprintf("0.0.0.0:%d", layout.OAuthPort), Webhook: webhook,
		URL: p.cluster.OAuthURL(), Backend: fmt.Sprintf("https://127.0.0.1:%d", layout.APIPort),
		CertFile: file("apiserver.crt"), KeyFile: file("apiserver.key"), CAFile: file("ca.crt"),
		User: oauthUser, Password: creds.password, Key: key,
	}, "", "\t")
	if err != nil {
		return err
	}
	if err := p.put("oauth.json", config); err != nil {
		return err
	}
	if err := p.put("password", []byte(creds.password+"\n")); err != nil {
		return err
	}
	hook, err := kubeconfig("oauth", "https://"+webhook+"/", creds.ca.Cert, pki.Pair{})
	if err != nil {
		return err
	}
	return p.put("oauth-webhook.kubeconfig", hook)
}
