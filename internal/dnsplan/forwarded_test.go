package dnsplan

import (
	"slices"
	"testing"
)

// TestForwarded: what was put in is read again, by either way.
func TestForwarded(t *testing.T) {
	want := []string{"cluster.west", "31.172.in-addr.arpa"}
	servers, err := WithServer([]any{map[string]any{"name": "mine", "zones": []any{"example.com"}}}, want, "172.30.0.9:53")
	if err != nil {
		t.Fatal(err)
	}
	if zones, to := Forwarded(servers); !slices.Equal(zones, want) || to != "172.30.0.9:53" {
		t.Errorf("operator: %v to %s", zones, to)
	}
	for _, corefile := range []string{".:53 {\n    errors\n    forward . /etc/resolv.conf\n}\n", "example.com {\n    forward . 192.0.2.1\n}\n"} {
		text, err := Forward(corefile, want, "172.30.0.9")
		if err != nil {
			t.Fatal(err)
		}
		if zones, to := ForwardedIn(text); !slices.Equal(zones, want) || to != "172.30.0.9" {
			t.Errorf("Corefile: %v to %s in\n%s", zones, to, text)
		}
		if zones, to := ForwardedIn(corefile); zones != nil || to != "" {
			t.Errorf("a Corefile without ours: %v to %s", zones, to)
		}
	}
	if zones, to := Forwarded(nil); zones != nil || to != "" {
		t.Errorf("no servers: %v to %s", zones, to)
	}
}
