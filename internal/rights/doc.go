// Package rights reads the API rights that a program documents and those that its
// manifests give, for tests that hold the one against the other and run the program
// with exactly these.
//
// It is for tests only, and no YAML or Jinja tool: it understands the rules in the
// templates of role tunnel and the markers +kubebuilder:rbac in Go files.
package rights
