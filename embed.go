//go:build !embedmodules

// Package sdntunnel embeds what the sdn-tunnel command needs of this repository: the
// playbooks, roles and the example inventory. The modules, which are built for one
// machine, are embedded only with the build tag embedmodules (after `make modules`).
package sdntunnel

import (
	"embed"
	"io/fs"
)

//go:embed playbooks/*.yml all:playbooks/group_vars all:roles all:inventory.example
var files embed.FS

// Files are the embedded files, with paths as in the repository.
func Files() fs.FS { return files }
