//go:build embedmodules

package sdntunnel

import (
	"embed"
	"io/fs"
)

//go:embed all:playbooks all:roles all:inventory.example
var files embed.FS

// Files are the embedded files, with paths as in the repository.
func Files() fs.FS { return files }
