package facts

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/sdn-tunnel/sdn-tunnel/internal/meshplan"
)

const (
	controlPlaneNamespace = "kube-system"
	unknownNetwork        = "unknown"
)

// networkPlugins names pod networks by the DaemonSet that their installers make.
var networkPlugins = map[string]string{
	"calico-node": "Calico", "canal": "Canal", "cilium": "Cilium", "kube-flannel-ds": "Flannel",
	"kube-flannel": "Flannel", "kindnet": "kindnet", "kube-router": "kube-router", "weave-net": "Weave",
	"antrea-agent": "Antrea", "aws-node": "AmazonVPC", "ovnkube-node": "OVNKubernetes",
}

// vanilla looks for the networks of a Kubernetes that is not OpenShift, where its API
// or its usual installers tell them. What may not be read counts as not there.
func vanilla(ctx context.Context, core kubernetes.Interface) (networks, error) {
	out := networks{platform: meshplan.Kubernetes, networkType: unknownNetwork}
	var err error
	if out.networkType, err = plugin(ctx, core); err != nil {
		return out, err
	}
	if out.services, err = serviceCIDRs(ctx, core); err != nil {
		return out, err
	}
	for _, look := range []func(context.Context, kubernetes.Interface) (pods, services []netip.Prefix, err error){
		kubeadm, controlPlane, nodeRanges,
	} {
		if len(out.pods) > 0 && len(out.services) > 0 {
			break
		}
		pods, services, err := look(ctx, core)
		if err != nil {
			return out, err
		}
		if len(out.pods) == 0 {
			out.pods = pods
		}
		if len(out.services) == 0 {
			out.services = services
		}
	}
	return out, nil
}

// plugin names the pod network.
func plugin(ctx context.Context, core kubernetes.Interface) (string, error) {
	sets, err := core.AppsV1().DaemonSets("").List(ctx, metav1.ListOptions{})
	if absent(err) {
		return unknownNetwork, nil
	}
	if err != nil {
		return "", fmt.Errorf("list the DaemonSets to know the network plugin: %w", err)
	}
	for i := range sets.Items {
		if name, ok := networkPlugins[sets.Items[i].Name]; ok {
			return name, nil
		}
	}
	return unknownNetwork, nil
}

// serviceCIDRs reads the ServiceCIDR objects of Kubernetes 1.33 and later.
func serviceCIDRs(ctx context.Context, core kubernetes.Interface) ([]netip.Prefix, error) {
	list, err := core.NetworkingV1().ServiceCIDRs().List(ctx, metav1.ListOptions{})
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the ServiceCIDRs: %w", err)
	}
	var texts []string
	for _, c := range list.Items {
		texts = append(texts, c.Spec.CIDRs...)
	}
	return prefixes(texts...)
}

// kubeadm reads what kubeadm keeps of its configuration.
func kubeadm(ctx context.Context, core kubernetes.Interface) (pods, services []netip.Prefix, err error) {
	cm, err := core.CoreV1().ConfigMaps(controlPlaneNamespace).Get(ctx, "kubeadm-config", metav1.GetOptions{})
	if absent(err) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read ConfigMap kubeadm-config: %w", err)
	}
	var config struct {
		Networking struct {
			PodSubnet     string `json:"podSubnet"`
			ServiceSubnet string `json:"serviceSubnet"`
		} `json:"networking"`
	}
	if err := yaml.Unmarshal([]byte(cm.Data["ClusterConfiguration"]), &config); err != nil {
		return nil, nil, fmt.Errorf("ConfigMap kubeadm-config: ClusterConfiguration: %w", err)
	}
	return pair("ConfigMap kubeadm-config", config.Networking.PodSubnet, config.Networking.ServiceSubnet)
}

// controlPlane reads the flags of a control plane that runs as pods.
func controlPlane(ctx context.Context, core kubernetes.Interface) (pods, services []netip.Prefix, err error) {
	list, err := core.CoreV1().Pods(controlPlaneNamespace).List(ctx, metav1.ListOptions{
		LabelSelector: "component in (kube-controller-manager,kube-apiserver)"})
	if absent(err) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("list the control plane's pods: %w", err)
	}
	var pod, service string
	for i := range list.Items {
		if v := flag(&list.Items[i], "--cluster-cidr="); v != "" {
			pod = v
		}
		if v := flag(&list.Items[i], "--service-cluster-ip-range="); v != "" {
			service = v
		}
	}
	return pair("the control plane's flags", pod, service)
}

// flag is the value of a container's flag that begins with prefix.
func flag(p *corev1.Pod, prefix string) string {
	for _, c := range p.Spec.Containers {
		for _, arg := range append(c.Command, c.Args...) {
			if v, ok := strings.CutPrefix(arg, prefix); ok {
				return v
			}
		}
	}
	return ""
}

// nodeRanges takes the nodes' own ranges for the pod network: less than the whole of
// it, so it is the last resort; nodes that come later with another range are refused
// until the next deploy.
func nodeRanges(ctx context.Context, core kubernetes.Interface) (pods, services []netip.Prefix, err error) {
	nodes, err := core.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, nil, fmt.Errorf("list the nodes: %w", err)
	}
	var all []netip.Prefix
	for i := range nodes.Items {
		p, err := prefixes(podCIDRsOf(&nodes.Items[i])...)
		if err != nil {
			return nil, nil, fmt.Errorf("node %s: podCIDRs: %w", nodes.Items[i].Name, err)
		}
		all = append(all, p...)
	}
	return cover(all), nil, nil
}

// cover is the smallest prefix of each family that has all of ps in it.
func cover(ps []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, v4 := range []bool{true, false} {
		var c netip.Prefix
		for _, p := range ps {
			if p.Addr().Is4() != v4 {
				continue
			}
			if !c.IsValid() {
				c = p
			}
			for !c.Contains(p.Addr()) || c.Bits() > p.Bits() {
				c = netip.PrefixFrom(c.Addr(), c.Bits()-1).Masked()
			}
		}
		if c.IsValid() {
			out = append(out, c)
		}
	}
	return out
}

func pair(where, pod, service string) (pods, services []netip.Prefix, err error) {
	split := func(s string) []string {
		return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
	}
	if pods, err = prefixes(split(pod)...); err == nil {
		services, err = prefixes(split(service)...)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", where, err)
	}
	return pods, services, nil
}

// absent tells whether an error means that a thing is not there for us.
func absent(err error) bool { return apierrors.IsNotFound(err) || apierrors.IsForbidden(err) }
