package dnsforward_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/yaml"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/sdn-tunnel/sdn-tunnel/internal/dnsforward"
	"github.com/sdn-tunnel/sdn-tunnel/internal/ssa"
)

const (
	service = `{apiVersion: v1, kind: Service, metadata: {name: dns, namespace: tunnel}, spec: {clusterIP: 172.30.0.53}}`
	dns     = `{apiVersion: operator.openshift.io/v1, kind: DNS, metadata: {name: default}, spec: {logLevel: Normal, servers: [{name: corp, zones: [corp.example.com], forwardPlugin: {upstreams: [192.0.2.53]}}]}}`
	bareDNS = `{apiVersion: operator.openshift.io/v1, kind: DNS, metadata: {name: default}, spec: {logLevel: Normal}}`
	operand = `{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: dns-default, namespace: openshift-dns}}`
	coredns = `{apiVersion: v1, kind: ConfigMap, metadata: {name: coredns, namespace: kube-system}, data: {Corefile: ".:53 {\n    reload\n}\n", NodeHosts: "x"}}`
)

var (
	target = dnsforward.Target{Namespace: "tunnel", Service: "dns"}
	zones  = []string{"cluster.east", "cluster.west"}
)

func world(t *testing.T, texts ...string) *dynamicfake.FakeDynamicClient {
	t.Helper()
	var objects []runtime.Object
	for _, text := range texts {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
			t.Fatal(err)
		}
		objects = append(objects, u)
	}
	return dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{
		{Group: "operator.openshift.io", Version: "v1", Resource: "dnses"}: "DNSList",
	}, objects...)
}

// state is both objects as they are now.
func state(t *testing.T, c dynamic.Interface) string {
	t.Helper()
	out := ""
	for _, r := range []dynamic.ResourceInterface{
		c.Resource(schema.GroupVersionResource{Group: "operator.openshift.io", Version: "v1", Resource: "dnses"}),
		c.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace("kube-system"),
	} {
		for _, name := range []string{"default", "coredns"} {
			if o, err := r.Get(t.Context(), name, metav1.GetOptions{}); err == nil {
				raw, err := yaml.Marshal(o.Object)
				if err != nil {
					t.Fatal(err)
				}
				out += string(raw) + "---\n"
			}
		}
	}
	return out
}

func words(changes []ssa.Change) string {
	var out []string
	for _, c := range changes {
		out = append(out, c.String())
	}
	return strings.Join(out, "; ")
}

// TestEnsure: each way's whole life, which ends where it began.
func TestEnsure(t *testing.T) {
	for _, tt := range []struct {
		name    string
		objects []string
		way     dnsforward.Way
		changes string
		holds   string
		warns   string
	}{
		{"operator", []string{service, dns, operand, coredns}, dnsforward.Operator, "update DNS default", "name: sdn-tunnel", ""},
		{"operator without servers", []string{service, bareDNS, operand}, dnsforward.Operator, "update DNS default", "172.30.0.53:53", ""},
		{"operator that is told to do nothing", []string{service, strings.Replace(dns, "logLevel: Normal", "managementState: Unmanaged", 1), operand}, dnsforward.Manual, "", "", "forward these zones to 172.30.0.53"},
		{"object of an operator that is not there", []string{service, dns, coredns}, dnsforward.ConfigMap, "update ConfigMap kube-system/coredns", "cluster.west:53 {", ""},
		{"CoreDNS that does not reload", []string{service, strings.Replace(coredns, "reload", "errors", 1)}, dnsforward.ConfigMap, "update ConfigMap kube-system/coredns", "forward . 172.30.0.53", "rollout restart"},
		{"neither", []string{service}, dnsforward.Manual, "", "", "cluster.east cluster.west"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := world(t, tt.objects...)
			before := state(t, c)
			dry := dnsforward.Forwarder{Client: c, DryRun: true}
			r, err := dry.Ensure(t.Context(), zones, target, false)
			if err != nil || r.Way != tt.way || words(r.Changes) != tt.changes || state(t, c) != before {
				t.Fatalf("dry run: %+v, %v", r, err)
			}
			f := dnsforward.Forwarder{Client: c}
			r, err = f.Ensure(t.Context(), zones, target, false)
			if err != nil || r.Way != tt.way || words(r.Changes) != tt.changes {
				t.Fatalf("got %+v, %v", r, err)
			}
			if got := strings.Join(r.Warnings, "; "); !strings.Contains(got, tt.warns) || (tt.warns == "") != (got == "") {
				t.Errorf("warnings: %s", got)
			}
			if now := state(t, c); !strings.Contains(now, tt.holds) || strings.Contains(before, "corp") != strings.Contains(now, "corp") {
				t.Errorf("now:\n%s", now)
			}
			if r, err = f.Ensure(t.Context(), zones, target, false); err != nil || len(r.Changes) != 0 {
				t.Errorf("a second time: %+v, %v", r, err)
			}
			if r, err = f.Remove(t.Context()); err != nil || words(r.Changes) != tt.changes {
				t.Errorf("removal: %+v, %v", r, err)
			}
			if diff := cmp.Diff(before, state(t, c)); diff != "" {
				t.Errorf("not as before:\n%s", diff)
			}
			if r, err = f.Remove(t.Context()); err != nil || len(r.Changes) != 0 {
				t.Errorf("a second removal: %+v, %v", r, err)
			}
		})
	}
}

// TestOtherWay: a cluster that got another DNS keeps nothing of ours in the old one, and
// neither does one whose operator wants to do it by hand.
func TestOtherWay(t *testing.T) {
	c := world(t, service, dns, coredns)
	f := dnsforward.Forwarder{Client: c}
	before := state(t, c)
	if _, err := f.Ensure(t.Context(), zones, target, false); err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(operand), &u.Object); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Resource(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "daemonsets"}).Namespace("openshift-dns").
		Create(t.Context(), u, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	r, err := f.Ensure(t.Context(), zones, target, false)
	if err != nil || words(r.Changes) != "update DNS default; update ConfigMap kube-system/coredns" {
		t.Errorf("got %+v, %v", r, err)
	}
	r, err = f.Ensure(t.Context(), zones, target, true)
	if err != nil || words(r.Changes) != "update DNS default" || len(r.Warnings) != 1 || state(t, c) != before {
		t.Errorf("by hand: %+v, %v\n%s", r, err, state(t, c))
	}
}

// TestConflict: who writes at the same time loses nothing.
func TestConflict(t *testing.T) {
	c := world(t, service, coredns)
	failures := 2
	c.PrependReactor("update", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
		if failures--; failures >= 0 {
			return true, nil, apierrors.NewConflict(schema.GroupResource{Resource: "configmaps"}, "coredns", nil)
		}
		return false, nil, nil
	})
	r, err := dnsforward.Forwarder{Client: c}.Ensure(t.Context(), zones, target, false)
	if err != nil || len(r.Changes) != 1 {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		name    string
		objects []string
		want    string
	}{
		{"no server yet", []string{coredns}, "deploy the server first"},
		{"no address", []string{strings.Replace(service, "172.30.0.53", "None", 1), coredns}, "no cluster address"},
		{"a zone that others have", []string{service, strings.Replace(coredns, ".:53", "cluster.west:53 .:53", 1)}, "which is not sdn-tunnel's"},
		{"a server that others have", []string{service, strings.Replace(dns, "corp.example.com", "cluster.west", 1), operand}, `entry "corp" for cluster.west`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := world(t, tt.objects...)
			before := state(t, c)
			_, err := dnsforward.Forwarder{Client: c}.Ensure(t.Context(), zones, target, false)
			if err == nil || !strings.Contains(err.Error(), tt.want) || state(t, c) != before {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	r, err := dnsforward.Forwarder{Client: world(t, coredns), DryRun: true}.Ensure(context.Background(), zones, target, false)
	if err != nil || len(r.Changes) != 1 {
		t.Errorf("a dry run before the server is there: %+v, %v", r, err)
	}
}
