package main

import (
	"testing"

	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/sidecar"
)

// TestDocumentation: what ansible-doc shows is what the module takes.
func TestDocumentation(t *testing.T) { sidecar.Check[Args](t, "sdn_cluster_facts") }
