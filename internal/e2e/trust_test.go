package e2e

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// agentsAreHeldToTheirNode: with the token of one node's agent, only that node's
// TunnelNode can be written, and of it only what is an agent's.
func agentsAreHeldToTheirNode(t *testing.T, l *lab) {
	pod := l.kubectl(t, "east", "-n", "sdn-tunnel", "get", "pods", "-l", "app.kubernetes.io/component=agent",
		"--field-selector", "spec.nodeName=east-1", "-o", "jsonpath={.items[0].metadata.name}")
	as := l.identity(t, "east", l.kubectl(t, "east", "-n", "sdn-tunnel", "create", "token", "sdn-tunnel",
		"--bound-object-kind", "Pod", "--bound-object-name", pod))
	for _, c := range []struct {
		name, object, patch, refusal string
	}{
		{"its own addresses", "east.east-1", `{"spec":{"nodeAddresses":["192.168.50.11"]}}`, ""},
		{"another node", "east.east-2", `{"spec":{"nodeAddresses":["192.168.50.66"]}}`, "may only write the TunnelNode east.east-1"},
		{"another cluster's node", "west.west-1", `{"spec":{"publicKey":"R5vCZMaO3y8HSbIZNriGSt+cloT7qTp7T6OYCQr2+hs="}}`, "may only write the TunnelNode east.east-1"},
		{"its own endpoint", "east.east-1", `{"spec":{"endpoint":{"host":"192.0.2.1","port":1}}}`, "endpoint is the controller's"},
		{"to be a gateway", "east.east-1", `{"spec":{"gateway":true}}`, "gateway is the controller's"},
		{"its own host subnet", "east.east-1", `{"spec":{"hostSubnets":["10.128.0.0/23"]}}`, ""},
		{"another node's host subnet", "east.east-1", `{"spec":{"hostSubnets":["10.128.0.0/23","10.128.2.0/23"]}}`, "may only be what the cluster gave it: [10.128.0.0/23]"},
		{"its own labels", "east.east-1", `{"metadata":{"labels":{"sdntunnel.io/cluster":"west"}}}`, "does not touch labels"},
		{"a finalizer", "east.east-1", `{"metadata":{"finalizers":["example.com/stuck"]}}`, "does not touch finalizers"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := l.operator(t, time.Minute, append(as, "patch", "tunnelnode", c.object, "--type=merge", "-p", c.patch)...)
			if (r.code == 0) != (c.refusal == "") || !strings.Contains(r.out, c.refusal) {
				t.Errorf("exit %d, want the refusal %q:\n%s", r.code, c.refusal, r.out)
			}
		})
	}
}

// webhookHoldsAgents: what the admission policy refuses, the controller's webhook does,
// and it goes when the policy comes back.
func webhookHoldsAgents(t *testing.T, l *lab) {
	deploy := func(kind string) {
		t.Helper()
		l.tunnel(t, 10*time.Minute, "deploy", "-i", l.Inventory, "-e", "tunnel_admission="+kind, "--tags", tasksThatChange).must(t)
	}
	there := func(kind string) string {
		t.Helper()
		return l.kubectl(t, "east", "get", kind, "-l", "app.kubernetes.io/part-of=sdn-tunnel", "-o", "name")
	}
	deploy("webhook")
	if hooks, policies := there("validatingwebhookconfigurations"), there("validatingadmissionpolicies"); hooks == "" || policies != "" {
		t.Errorf("webhooks %q, policies %q", hooks, policies)
	}
	agentsAreHeldToTheirNode(t, l)
	deploy("auto")
	if hooks, policies := there("validatingwebhookconfigurations"), there("validatingadmissionpolicies"); hooks != "" || policies == "" {
		t.Errorf("webhooks %q, policies %q", hooks, policies)
	}
}

// peersReadAndNothingElse: the identity that west has in east reads the mesh's objects
// and what services there are.
func peersReadAndNothingElse(t *testing.T, l *lab) {
	as := l.identity(t, "east", l.kubectl(t, "east", "-n", "sdn-tunnel", "create", "token", "sdn-tunnel-peer-west"))
	for _, c := range []struct {
		args []string
		may  bool
	}{
		{[]string{"get", "tunnelnodes"}, true},
		{[]string{"get", "linkedclusters"}, true},
		{[]string{"get", "nodes"}, false},
		{[]string{"get", "services", "-A"}, true},
		{[]string{"get", "endpointslices", "-A"}, true},
		{[]string{"get", "namespaces"}, true},
		{[]string{"auth", "can-i", "watch", "serviceexports.multicluster.x-k8s.io", "-A"}, true},
		{[]string{"-n", "sdn-tunnel", "delete", "endpointslices", "--all"}, false},
		{[]string{"get", "pods", "-A"}, false},
		{[]string{"get", "configmaps", "-A"}, false},
		{[]string{"get", "secrets", "-A"}, false},
		{[]string{"-n", "sdn-tunnel", "get", "secrets"}, false},
		{[]string{"delete", "tunnelnode", "east.east-1"}, false},
		{[]string{"-n", "sdn-tunnel", "create", "token", "sdn-tunnel"}, false},
		{[]string{"-n", "sdn-tunnel", "create", "token", "sdn-tunnel-peer-west"}, true},
	} {
		r := l.operator(t, time.Minute, append(as, c.args...)...)
		if (r.code == 0) != c.may || (!c.may && !strings.Contains(r.out, "orbidden")) {
			t.Errorf("%v: exit %d, may %v:\n%s", c.args, r.code, c.may, tail(r.out, 5))
		}
	}
}

// identity is a kubectl command that shows nothing but a token.
func (l *lab) identity(t *testing.T, cluster, token string) []string {
	t.Helper()
	r := l.run(t, time.Minute, "lab", "status", "--name", l.name, "-o", "json")
	r.must(t)
	var status struct {
		Clusters []struct{ Name, API, CAFile string } `json:"clusters"`
	}
	if err := json.Unmarshal([]byte(r.out), &status); err != nil {
		t.Fatal(err)
	}
	for _, c := range status.Clusters {
		if c.Name == cluster {
			return []string{"kubectl", "--kubeconfig", "/dev/null", "--server", c.API,
				"--certificate-authority", c.CAFile, "--token", token}
		}
	}
	t.Fatalf("no cluster %s in the lab", cluster)
	return nil
}
