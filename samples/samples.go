// Package samples holds the manifests of the test application for programs that apply
// them; people apply the files.
package samples

import _ "embed"

// TestApp is the test application on every node.
//
//go:embed test-app.yaml
var TestApp []byte

// TestAppExport exports the test application's Service to all clusters.
//
//go:embed test-app-export.yaml
var TestAppExport []byte

// TestAppHost is the prober in every node's own network.
//
//go:embed test-app-host.yaml
var TestAppHost []byte
