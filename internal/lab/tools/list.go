package tools

// tool is one program: a main package of one of the modules of lab/tools.
type tool struct {
	name   string
	module string // folder in lab/tools
	pkg    string
	cgo    bool
	tags   string
}

// asset is a set of files that a module carries, copied beside the programs.
type asset struct {
	name   string // folder in the cache
	module string // folder whose go.mod pins path; "../.." is the product's own
	path   string // module path
	files  []string
}

const kubernetes = "k8s.io/kubernetes"

// bundle is what is built, and kept in the cache, together.
type bundle struct {
	tools  []tool
	assets []asset
	// takes is how long that takes without any cache.
	takes string
}

// lab is what the lab needs, and extra what only some need: the kernel's tests and the
// agent's image for those who want it.
var (
	lab   = bundle{all, assets, "15 minutes"}
	extra = bundle{tools: []tool{
		{name: "kube-router", module: "kuberouter", pkg: "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router"},
	}, takes: "3 minutes"}
)

var all = []tool{
	{name: "kube-apiserver", module: ".", pkg: kubernetes + "/cmd/kube-apiserver"},
	{name: "kube-controller-manager", module: ".", pkg: kubernetes + "/cmd/kube-controller-manager"},
	{name: "kube-scheduler", module: ".", pkg: kubernetes + "/cmd/kube-scheduler"},
	{name: "kube-proxy", module: ".", pkg: kubernetes + "/cmd/kube-proxy"},
	{name: "kubelet", module: ".", pkg: kubernetes + "/cmd/kubelet"},
	{name: "kubectl", module: ".", pkg: kubernetes + "/cmd/kubectl"},
	{name: "etcd", module: "etcd", pkg: "go.etcd.io/etcd/server/v3"},
	{name: "containerd", module: "node", pkg: "github.com/containerd/containerd/v2/cmd/containerd"},
	{name: "containerd-shim-runc-v2", module: "node", pkg: "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2"},
	{name: "ctr", module: "node", pkg: "github.com/containerd/containerd/v2/cmd/ctr"},
	{name: "runc", module: "node", pkg: "github.com/opencontainers/runc", cgo: true, tags: "seccomp"},
	{name: "host-local", module: "node", pkg: "github.com/containernetworking/plugins/plugins/ipam/host-local"},
	{name: "loopback", module: "node", pkg: "github.com/containernetworking/plugins/plugins/main/loopback"},
	{name: "coredns", module: "node", pkg: "github.com/coredns/coredns"},
	{name: "metallb-controller", module: "metallb", pkg: "go.universe.tf/metallb/controller"},
	{name: "metallb-speaker", module: "metallb", pkg: "go.universe.tf/metallb/speaker"},
}

var assets = []asset{
	{name: "metallb-crds", module: "metallb", path: "go.universe.tf/metallb", files: []string{"config/crd/bases/*.yaml"}},
	{name: "openshift-crds", module: "../..", path: "github.com/openshift/api", files: []string{
		"config/v1/zz_generated.crd-manifests/*_networks.crd.yaml",
		"network/v1/zz_generated.crd-manifests/*.yaml",
		"security/v1/zz_generated.crd-manifests/*.yaml",
		"operator/v1/zz_generated.crd-manifests/*_dnses.crd.yaml",
	}},
}
