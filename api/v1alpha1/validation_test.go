package v1alpha1

import (
	"context"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	crdvalidation "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"
)

// server judges objects as an API server would: defaults, schema, CEL rules.
type server struct {
	structural *schema.Structural
	schema     validation.SchemaValidator
	rules      *cel.Validator
}

// servers loads the CRDs, checks that an API server would take them, and gives one judge
// for each kind.
func servers(t testing.TB) map[string]server {
	t.Helper()
	out := map[string]server{}
	for _, path := range []string{crdDir + "/sdntunnel.io_linkedclusters.yaml", crdDir + "/sdntunnel.io_tunnelnodes.yaml"} {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var v1 apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(b, &v1); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		apiextensionsv1.SetDefaults_CustomResourceDefinition(&v1)
		apiextensionsv1.SetDefaults_CustomResourceDefinitionSpec(&v1.Spec)
		v1.Status.StoredVersions = []string{"v1alpha1"}
		var crd apiextensions.CustomResourceDefinition
		if err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(&v1, &crd, nil); err != nil {
			t.Fatal(err)
		}
		if errs := crdvalidation.ValidateCustomResourceDefinition(context.Background(), &crd); len(errs) > 0 {
			t.Fatalf("%s would be refused: %v", path, errs.ToAggregate())
		}
		props := crd.Spec.Validation
		if props == nil {
			props = crd.Spec.Versions[0].Schema
		}
		structural, err := schema.NewStructural(props.OpenAPIV3Schema)
		if err != nil {
			t.Fatal(err)
		}
		sv, _, err := validation.NewSchemaValidator(props.OpenAPIV3Schema)
		if err != nil {
			t.Fatal(err)
		}
		out[crd.Spec.Names.Kind] = server{structural, sv, cel.NewValidator(structural, true, celconfig.PerCallLimit)}
	}
	return out
}

// judge says what the server has against obj, which replaces old if that is given.
func (s server) judge(t testing.TB, obj, old any) string {
	t.Helper()
	now, before := unstructured(t, obj), any(nil)
	defaulting.Default(now, s.structural)
	if old != nil {
		before = any(unstructured(t, old))
	}
	errs := validation.ValidateCustomResource(field.NewPath(""), now, s.schema)
	celErrs, _ := s.rules.Validate(context.Background(), field.NewPath(""), s.structural, now, before, celconfig.RuntimeCELCostBudget)
	if errs = append(errs, celErrs...); len(errs) > 0 {
		return errs.ToAggregate().Error()
	}
	return ""
}

func unstructured(t testing.TB, obj any) map[string]any {
	t.Helper()
	b, err := json.Marshal(obj)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	if meta, ok := m["metadata"].(map[string]any); ok && meta["creationTimestamp"] == nil {
		delete(meta, "creationTimestamp")
	}
	return normal(m).(map[string]any)
}

// normal makes numbers integers where they are, as the server's decoder does.
func normal(v any) any {
	switch x := v.(type) {
	case map[string]any:
		for k := range x {
			x[k] = normal(x[k])
		}
	case []any:
		for i := range x {
			x[i] = normal(x[i])
		}
	case float64:
		if x == float64(int64(x)) {
			return int64(x)
		}
	}
	return v
}

func linked() *LinkedCluster {
	return &LinkedCluster{
		TypeMeta:   metav1.TypeMeta{APIVersion: GroupVersion.String(), Kind: "LinkedCluster"},
		ObjectMeta: metav1.ObjectMeta{Name: "west"},
		Spec: LinkedClusterSpec{PodCIDRs: []CIDR{"10.132.0.0/14", "fd02::/48"}, ServiceCIDRs: []CIDR{"172.31.0.0/16"},
			TunnelCIDR: "100.127.4.0/22", Topology: TopologyMesh, DNSZone: "cluster.west",
			API: &ClusterAPI{Server: "https://192.168.60.10:6443", Secret: "sdn-tunnel-peer-west"}},
	}
}

func tunnelNode() *TunnelNode {
	return &TunnelNode{
		TypeMeta:   metav1.TypeMeta{APIVersion: GroupVersion.String(), Kind: "TunnelNode"},
		ObjectMeta: metav1.ObjectMeta{Name: "west.w1.example.org"},
		Spec: TunnelNodeSpec{Cluster: "west", Node: "w1.example.org", PublicKey: "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=",
			HostSubnets: []CIDR{"10.132.0.0/23"}, NodeAddresses: []string{"192.168.60.11"}, ListenPort: 30555,
			Endpoint: &Endpoint{Host: "203.0.113.7", Port: 5555}, TunnelAddress: "100.127.4.1"},
		Status: TunnelNodeStatus{AgentVersion: "dev", Cable: "wireguard", MTU: 1420, Peers: &PeerCounts{Configured: 3, Up: 2, Never: 1}},
	}
}

func TestLinkedClusterRules(t *testing.T) {
	s := servers(t)["LinkedCluster"]
	tests := map[string]struct {
		change func(*LinkedCluster)
		want   string // in the refusal; empty: taken
	}{
		"good":                {func(*LinkedCluster) {}, ""},
		"self, no API":        {func(o *LinkedCluster) { o.Spec.API = nil }, ""},
		"topology by default": {func(o *LinkedCluster) { o.Spec.Topology = "" }, ""},
		"gateways":            {func(o *LinkedCluster) { o.Spec.Topology = TopologyGateway }, ""},
		"exported only":       {func(o *LinkedCluster) { o.Spec.ExportPolicy = ExportExported }, ""},
		"other policy":        {func(o *LinkedCluster) { o.Spec.ExportPolicy = "exported" }, "spec.exportPolicy"},
		"other topology":      {func(o *LinkedCluster) { o.Spec.Topology = "Star" }, "spec.topology"},
		"dots in the name":    {func(o *LinkedCluster) { o.Name = "west.example" }, "DNS label"},
		"long name":           {func(o *LinkedCluster) { o.Name = strings.Repeat("w", 64) }, "DNS label"},
		"no pods":             {func(o *LinkedCluster) { o.Spec.PodCIDRs = []CIDR{} }, "spec.podCIDRs"},
		"not a prefix":        {func(o *LinkedCluster) { o.Spec.PodCIDRs[0] = "10.132.0.0" }, "spec.podCIDRs[0]"},
		"services":            {func(o *LinkedCluster) { o.Spec.ServiceCIDRs[0] = "everything" }, "spec.serviceCIDRs[0]"},
		"tunnel network":      {func(o *LinkedCluster) { o.Spec.TunnelCIDR = "" }, "spec.tunnelCIDR"},
		"plain HTTP":          {func(o *LinkedCluster) { o.Spec.API.Server = "http://w" }, "spec.api.server"},
		"no secret":           {func(o *LinkedCluster) { o.Spec.API.Secret = "" }, "spec.api.secret"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := linked()
			tt.change(o)
			verdict(t, s.judge(t, o, nil), tt.want)
		})
	}
}

func TestTunnelNodeRules(t *testing.T) {
	s := servers(t)["TunnelNode"]
	tests := map[string]struct {
		change func(*TunnelNode)
		want   string
	}{
		"good": {func(*TunnelNode) {}, ""},
		"as its agent begins it": {func(o *TunnelNode) {
			o.Spec = TunnelNodeSpec{Cluster: "west", Node: "w1.example.org"}
			o.Status = TunnelNodeStatus{}
		}, ""},
		"name of another":     {func(o *TunnelNode) { o.Name = "east.w1" }, "<spec.cluster>.<spec.node>"},
		"cluster with a dot":  {func(o *TunnelNode) { o.Spec.Cluster = "a.b" }, "spec.cluster"},
		"no node":             {func(o *TunnelNode) { o.Spec.Node = "" }, "spec.node"},
		"short key":           {func(o *TunnelNode) { o.Spec.PublicKey = "AAAA" }, "spec.publicKey"},
		"key of 33 bytes":     {func(o *TunnelNode) { o.Spec.PublicKey = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dgz" }, "spec.publicKey"},
		"key with loose bits": {func(o *TunnelNode) { o.Spec.PublicKey = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dh=" }, "spec.publicKey"},
		"subnet":              {func(o *TunnelNode) { o.Spec.HostSubnets[0] = "10.132.1.0" }, "spec.hostSubnets[0]"},
		"listen port":         {func(o *TunnelNode) { o.Spec.ListenPort = 65536 }, "spec.listenPort"},
		"endpoint port":       {func(o *TunnelNode) { o.Spec.Endpoint.Port = 0 }, "spec.endpoint.port"},
		"endpoint host":       {func(o *TunnelNode) { o.Spec.Endpoint.Host = "" }, "spec.endpoint.host"},
		"tunnel address":      {func(o *TunnelNode) { o.Spec.TunnelAddress = "100.127.4" }, "spec.tunnelAddress"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := tunnelNode()
			tt.change(o)
			verdict(t, s.judge(t, o, nil), tt.want)
		})
	}
	moved := tunnelNode()
	moved.Spec.Node, moved.Name = "w2", "west.w2"
	verdict(t, s.judge(t, moved, tunnelNode()), "cannot change")
	verdict(t, s.judge(t, tunnelNode(), tunnelNode()), "")
}

func verdict(t *testing.T, got, want string) {
	t.Helper()
	switch {
	case want == "" && got != "":
		t.Errorf("refused: %s", got)
	case want != "" && !strings.Contains(got, want):
		t.Errorf("refusal %q does not speak of %q", got, want)
	}
}

// TestRoundTrip: nothing is lost through JSON, and a copy is a copy.
func TestRoundTrip(t *testing.T) {
	sch := runtime.NewScheme()
	if err := AddToScheme(sch); err != nil {
		t.Fatal(err)
	}
	for _, o := range []runtime.Object{linked(), tunnelNode(),
		&LinkedClusterList{Items: []LinkedCluster{*linked()}}, &TunnelNodeList{Items: []TunnelNode{*tunnelNode()}}} {
		kinds, _, err := sch.ObjectKinds(o)
		if err != nil || len(kinds) != 1 || kinds[0].GroupVersion() != GroupVersion {
			t.Errorf("%T: kinds %v, error %v", o, kinds, err)
		}
		b, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		back := reflect.New(reflect.TypeOf(o).Elem()).Interface()
		if err := json.Unmarshal(b, back); err != nil || !reflect.DeepEqual(o, back) {
			t.Errorf("%T came back as %+v (%v)", o, back, err)
		}
		if c := o.DeepCopyObject(); !reflect.DeepEqual(o, c) {
			t.Errorf("the copy of %T differs", o)
		}
	}
	o := linked()
	o.DeepCopy().Spec.PodCIDRs[0] = "10.0.0.0/8"
	if o.Spec.PodCIDRs[0] != "10.132.0.0/14" {
		t.Error("a copy shares its slices with the original")
	}
}
