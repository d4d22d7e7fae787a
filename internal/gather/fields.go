package gather

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
)

// resource is a kind of objects and what of them is taken.
type resource struct {
	schema.GroupVersionResource
	// inNamespace: only those in the namespace of sdn-tunnel.
	inNamespace bool
	// selector is by labels, about by fields.
	selector, about string
	// fields are paths; one that leads through a list goes for each item.
	fields []string
}

// metadata is taken of every object: no annotations, which may hold anything.
var metadata = []string{"apiVersion", "kind", "metadata.name", "metadata.namespace", "metadata.labels", "metadata.uid",
	"metadata.generation", "metadata.resourceVersion", "metadata.creationTimestamp", "metadata.deletionTimestamp", "metadata.finalizers",
	"metadata.ownerReferences.kind", "metadata.ownerReferences.name"}

const ours = "app.kubernetes.io/part-of=sdn-tunnel"

// podTemplate are the fields of a workload's pods; env has values that may be secret.
var podTemplate = []string{"spec.template.spec.nodeSelector", "spec.template.spec.tolerations", "spec.template.spec.serviceAccountName",
	"spec.template.spec.containers.name", "spec.template.spec.containers.image", "spec.template.spec.containers.args", "spec.template.spec.containers.resources"}

var eventFields = []string{"type", "reason", "message", "count", "firstTimestamp", "lastTimestamp", "eventTime", "series",
	"involvedObject.kind", "involvedObject.name", "source", "reportingComponent"}

// meshEvents are those of the mesh's own objects, which are in namespace default.
var meshEvents = resource{schema.GroupVersionResource{Version: "v1", Resource: "events"}, false, "",
	"involvedObject.apiVersion=" + v1alpha1.GroupVersion.String(), eventFields}

var resources = []resource{
	{v1alpha1.GroupVersion.WithResource("linkedclusters"), false, "", "", []string{"spec", "status"}},
	{v1alpha1.GroupVersion.WithResource("tunnelnodes"), false, "", "", []string{"spec", "status"}},
	{schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "daemonsets"}, true, ours, "", slices.Concat(podTemplate, []string{"spec.updateStrategy", "status"})},
	{schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, true, ours, "", slices.Concat(podTemplate, []string{"spec.replicas", "status"})},
	{schema.GroupVersionResource{Version: "v1", Resource: "pods"}, true, "app.kubernetes.io/name=sdn-tunnel", "", []string{"spec.nodeName",
		"spec.containers.name", "spec.containers.image", "spec.containers.args", "status"}},
	{schema.GroupVersionResource{Version: "v1", Resource: "services"}, true, "", "", []string{"spec", "status"}},
	{schema.GroupVersionResource{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}, true, v1alpha1.LabelNode, "", []string{"addressType", "endpoints", "ports"}},
	{schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}, true, "app.kubernetes.io/component=dns", "", []string{"data.Corefile"}},
	{schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}, true, "", "", []string{"spec"}},
	{schema.GroupVersionResource{Version: "v1", Resource: "events"}, true, "", "", eventFields},
	{schema.GroupVersionResource{Version: "v1", Resource: "nodes"}, false, "", "", []string{"spec.podCIDRs", "spec.taints", "spec.unschedulable",
		"status.addresses", "status.conditions", "status.nodeInfo"}},
}

// node is a tree of the fields that are taken; one without children is taken whole.
type node map[string]node

func tree(paths []string) node {
	root := node{}
	for _, path := range paths {
		at := root
		for name := range strings.SplitSeq(path, ".") {
			if at[name] == nil {
				at[name] = node{}
			}
			at = at[name]
		}
	}
	return root
}

// take copies what the tree names.
func (n node) take(value any) any {
	if len(n) == 0 {
		return value
	}
	switch value := value.(type) {
	case map[string]any:
		taken := map[string]any{}
		for name, child := range n {
			if v, ok := value[name]; ok {
				taken[name] = child.take(v)
			}
		}
		return taken
	case []any:
		taken := make([]any, 0, len(value))
		for _, v := range value {
			taken = append(taken, n.take(v))
		}
		return taken
	}
	return nil // a plain value where a structure is expected
}

// of takes what may be taken of one object.
func (r resource) of(object map[string]any) map[string]any {
	taken, _ := tree(slices.Concat(metadata, r.fields)).take(object).(map[string]any)
	switch r.Resource {
	case "linkedclusters":
		if spec, ok := taken["spec"].(map[string]any); ok {
			if api, ok := spec["api"].(map[string]any); ok {
				server, _ := api["server"].(string)
				spec["api"] = map[string]any{"server": plainURL(server), "secret": api["secret"]}
			}
		}
	case "configmaps":
		if data, ok := taken["data"].(map[string]any); ok {
			text, _ := data["Corefile"].(string)
			data["Corefile"] = corefile(text)
		}
	}
	return taken
}

// plainURL is where a URL leads, without user and query.
func plainURL(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return ""
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host}).String()
}

// directives are those of CoreDNS that a deploy writes. What an inventory adds may have
// others, and secrets in them.
var directives = []string{"acl", "block", "errors", "health", "ready", "reload", "loop", "log", "cache", "forward", "kubernetes", "kubeconfig", "endpoint",
	"pods", "fallthrough", "ttl", "rewrite", "prometheus", "bufsize", "loadbalance", "multicluster", "noendpoints", "namespace_labels",
	"lameduck", "max_concurrent", "policy", "prefer_udp", "stop", "answer", "name", "import", "denial", "success", "servfail", "startup_timeout", "}"}

// zones begin a server block.
var zones = regexp.MustCompile(`^(([A-Za-z0-9-]+\.)*[A-Za-z0-9-]*\.?:[0-9]+,? )+\{$`)

const lineLeftOut = "# a line is left out\n"

// corefile has the lines of a Corefile that a deploy may have written. Of a block that begins
// with another line, nothing is taken up to its end.
func corefile(text string) string {
	var b strings.Builder
	depth, foreign := 0, 0 // foreign: the depth from which on nothing is taken
	for line := range strings.Lines(text) {
		plain := strings.TrimSpace(line)
		first, _, _ := strings.Cut(plain, " ")
		opens := strings.HasSuffix(plain, "{")
		known := plain == "" || slices.Contains(directives, first) && depth > 0 || depth == 0 && zones.MatchString(plain)
		if opens {
			depth++
		}
		if !known && opens && foreign == 0 {
			foreign = depth
		}
		if known && foreign == 0 {
			b.WriteString(line)
		} else {
			b.WriteString(lineLeftOut)
		}
		if plain == "}" {
			if foreign == depth {
				foreign = 0
			}
			depth = max(0, depth-1)
		}
	}
	return b.String()
}
