package controller_test

import (
	"bytes"
	"os"
	"testing"

	mcscrd "sigs.k8s.io/mcs-api/config/crd"
)

// TestDefinitions: what role tunnel installs of the Multi-Cluster Services API is the
// project's own definition of the version in go.mod, with one label that says who did.
func TestDefinitions(t *testing.T) {
	const label = "    app.kubernetes.io/managed-by: sdn-tunnel-deploy\n"
	for name, want := range map[string][]byte{"exports": mcscrd.ServiceExportCRD, "imports": mcscrd.ServiceImportCRD} {
		got, err := os.ReadFile("../../roles/tunnel/files/mcs/multicluster.x-k8s.io_service" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Count(got, []byte(label)) != 1 || !bytes.Equal(bytes.Replace(got, []byte(label), nil, 1), want) {
			t.Errorf("service%s differs from what sigs.k8s.io/mcs-api has", name)
		}
	}
}
