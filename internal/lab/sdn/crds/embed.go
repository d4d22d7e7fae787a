// Package crds holds copies of OpenShift's CustomResourceDefinitions that the lab's
// clusters serve. README.md says where they come from.
package crds

import "embed"

//go:generate go run ../crdgen -out .

// Files are the definitions, one a file, named *.crd.yaml.
//
//go:embed *.crd.yaml
var Files embed.FS
