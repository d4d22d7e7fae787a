package module

import (
	"encoding/json"
	"os"
	"strings"
	"syscall"
)

const (
	// progressFile is the variable with the path of the FIFO that sdn-tunnel reads a
	// playbook's progress from; Ansible itself knows of none.
	progressFile = "SDN_TUNNEL_PROGRESS"
	// maxNote keeps a note below what a pipe takes in one piece.
	maxNote = 1000
)

// Note tells whoever runs the playbook by sdn-tunnel, at once, why a module of a host, or a
// cluster, still runs. Nobody has to listen, and a note that nobody takes is dropped.
func Note(host, message string) {
	path := os.Getenv(progressFile)
	if path == "" {
		return
	}
	line, err := json.Marshal(map[string]string{"event": "note", "host": host, "message": strings.ToValidUTF8(message[:min(len(message), maxNote)], "")})
	if err != nil {
		return
	}
	// Without O_NONBLOCK a reader that is gone would hold the module up for good.
	out, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer out.Close()
	_, _ = out.Write(append(line, '\n'))
}
