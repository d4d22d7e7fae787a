package cli

import (
	"fmt"
	"io/fs"
	"strings"

	ucli "github.com/urfave/cli/v2"
)

func upgradeCommand(files fs.FS) *ucli.Command {
	return &ucli.Command{
		Name: "upgrade", Usage: "bring a running mesh to the versions of its inventory, step by step, or back",
		Description: `   sdn-tunnel upgrade -i inventory -e sdn_tunnel_version=v1.3.0
   sdn-tunnel upgrade -i inventory --check     what would be replaced; writes nothing
   sdn-tunnel upgrade -i inventory --batch 1   one node at a time
   sdn-tunnel upgrade -i inventory --rollback  back to what was there before the last one

Definitions and rights come first, then the controllers and then the agents: one cluster after
the other, the agents in batches, the first of one node. After each step the mesh has to be as
well as before, and after each batch its nodes' pods have to reach those of other clusters. If
not, every cluster goes back to what was there before, and the exit code is not 0.

What goes back are agents and controllers: images, arguments, resources and configuration, also
where only these change. Definitions, rights and the servers of names stay as the upgrade made them.`,
		Flags: append(playbookFlags(files),
			&ucli.StringFlag{Name: "batch", Usage: "how many agents of a cluster at once, a number or a share; default: the inventory's upgrade_batch"},
			&ucli.BoolFlag{Name: "rollback", Usage: "go back to what was there before the last upgrade"},
			&ucli.BoolFlag{Name: "force", Usage: "start although something in the mesh is wrong"},
			&ucli.BoolFlag{Name: "allow-downgrade", Usage: "go to an older version"},
		),
		Action: func(c *ucli.Context) error { return upgrade(c, files) },
	}
}

// upgrade runs the playbook with what the flags say as variables.
func upgrade(c *ucli.Context, files fs.FS) error {
	if c.String("limit") != "" {
		return fmt.Errorf("--limit %s: an upgrade is of the whole mesh, as its clusters go back together", c.String("limit"))
	}
	var vars []string
	for _, flag := range []string{"rollback", "force", "allow-downgrade"} {
		if c.Bool(flag) {
			vars = append(vars, "upgrade_"+strings.ReplaceAll(flag, "-", "_")+"=true")
		}
	}
	if batch := c.String("batch"); batch != "" {
		vars = append(vars, "upgrade_batch="+batch)
	}
	return runPlaybook(c, files, "upgrade", vars...)
}
