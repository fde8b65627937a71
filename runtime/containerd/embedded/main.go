package embedded

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/manager"
	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/task"
	"github.com/containerd/containerd/v2/cmd/containerd/command"
	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/containerd/v2/pkg/shutdown"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"

	"github.com/drover-io/drover/runtime/containerd/companion"
)

// Main runs the daemon, the shim or one of their companions when the arguments (os.Args) ask for one of them, and says with which code to exit.
// handled is false for every other command line.
func Main(args []string) (handled bool, code int) {
	if len(args) == 0 {
		return false, 0
	}
	if handled, code := companion.Main(args); handled {
		return true, code
	}
	switch {
	case isShim(args):
		runShim()
		return true, 0
	case len(args) > 1 && args[1] == "containerd":
		if !isOurs(args) {
			fmt.Fprintln(os.Stderr, "containerd: the agent starts this by itself; by hand it wants --config, --root, --state and --address, or it would use the host's")
			return true, 1
		}
		if err := command.App().Run(context.Background(), args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "containerd:", err)
			return true, 1
		}
		return true, 0
	}
	return false, 0
}

// isShim looks at the other arguments too: the shim starts itself again through os.Executable, which resolves the link that
// carries the shim's name.
func isShim(args []string) bool {
	return strings.HasPrefix(filepath.Base(args[0]), "containerd-shim-") ||
		len(args) > 2 && args[1] == "-namespace" && slices.Contains(args, "-id") && slices.Contains(args, "-address")
}

// isOurs keeps a daemon from being started with containerd's defaults, which are the directories of the host's.
func isOurs(args []string) bool {
	if slices.ContainsFunc(args[2:], func(a string) bool { return a == "--version" || a == "--help" }) {
		return true
	}
	for _, want := range []string{"--config", "--root", "--state", "--address"} {
		if !slices.Contains(args, want) {
			return false
		}
	}
	return true
}

// runShim registers the one plugin that a shim needs. The daemon's, which share the registry because they share the binary,
// go first: the shim would initialise them all, and die of it.
func runShim() {
	registry.Reset()
	registry.Register(&plugin.Registration{
		Type:     plugins.TTRPCPlugin,
		ID:       "task",
		Requires: []plugin.Type{plugins.EventPlugin, plugins.InternalPlugin},
		InitFn:   newTaskService,
	})
	shim.RunShim(context.Background(), manager.NewShimManager("io.containerd.runc.v2"))
}

func newTaskService(ic *plugin.InitContext) (any, error) {
	pub, err := ic.GetByID(plugins.EventPlugin, "publisher")
	if err != nil {
		return nil, err
	}
	down, err := ic.GetByID(plugins.InternalPlugin, "shutdown")
	if err != nil {
		return nil, err
	}
	return task.NewTaskService(ic.Context, notingExits(pub.(shim.Publisher)), down.(shutdown.Service))
}
