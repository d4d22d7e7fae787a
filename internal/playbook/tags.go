package playbook

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// Tags are those by which parts of a playbook can be chosen. The roles' own are within these:
// a task of a role is reached only by way of the play that has the role.
func Tags(files fs.FS, name string) ([]string, error) {
	tags, err := playTags(files, path.Join("playbooks", name+".yml"))
	slices.Sort(tags)
	return slices.Compact(tags), err
}

// Tags with a meaning of Ansible's own. What is tagged always runs in any case, and by never
// nothing does, so that these choose nothing.
var (
	special    = []string{"all", "tagged", "untagged"}
	choiceless = []string{"always", "never"}
)

// CheckTags refuses tags, with commas between them, of which the playbook has not each:
// Ansible runs what is tagged always then, and calls that success.
func CheckTags(files fs.FS, name, chosen string) error {
	if chosen == "" {
		return nil
	}
	known, err := Tags(files, name)
	if err != nil {
		return err
	}
	for tag := range strings.SplitSeq(chosen, ",") {
		if tag = strings.TrimSpace(tag); !slices.Contains(known, tag) && !slices.Contains(special, tag) {
			return fmt.Errorf("--tags %s: %s has no tag %q; it has %s", chosen, name, tag, strings.Join(known, ", "))
		}
	}
	return nil
}

// step is a play, a task or a block, as far as tags are concerned.
type step struct {
	Import   string `json:"ansible.builtin.import_playbook"`
	Tags     any    `json:"tags"`
	PreTasks []step `json:"pre_tasks"`
	Tasks    []step `json:"tasks"`
	Post     []step `json:"post_tasks"`
	Block    []step `json:"block"`
	Rescue   []step `json:"rescue"`
	Always   []step `json:"always"`
}

func playTags(files fs.FS, file string) (tags []string, err error) {
	text, err := fs.ReadFile(files, file)
	if err != nil {
		return nil, fmt.Errorf("playbook: %w", err)
	}
	var plays []step
	if err := yaml.Unmarshal(text, &plays); err != nil {
		return nil, fmt.Errorf("playbook %s: %w", file, err)
	}
	for _, p := range plays {
		if p.Import != "" {
			imported, err := playTags(files, path.Join(path.Dir(file), p.Import))
			if err != nil {
				return nil, err
			}
			tags = append(tags, imported...)
		}
		tags = append(tags, p.tags()...)
	}
	return tags, nil
}

// tags are a step's own and those of what is in it.
func (s step) tags() (all []string) {
	switch t := s.Tags.(type) {
	case string:
		all = strings.Split(t, ",")
	case []any:
		for _, tag := range t {
			all = append(all, fmt.Sprint(tag))
		}
	}
	for _, inner := range slices.Concat(s.PreTasks, s.Tasks, s.Post, s.Block, s.Rescue, s.Always) {
		all = append(all, inner.tags()...)
	}
	return slices.DeleteFunc(all, func(tag string) bool { return slices.Contains(special, tag) || slices.Contains(choiceless, tag) })
}
