// Package files holds the configuration files of a lab's machines as templates.
package files

import (
	"bytes"
	"embed"
	"fmt"
	"text/template"
)

//go:embed *.tmpl audit.yaml
var all embed.FS

var templates = template.Must(template.New("").Option("missingkey=error").ParseFS(all, "*.tmpl", "audit.yaml"))

// Render fills in the named template.
func Render(name string, data any) (string, error) {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, data); err != nil {
		return "", fmt.Errorf("configuration file %s: %w", name, err)
	}
	return b.String(), nil
}
