package containerd

import (
	goflag "flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var rewrite = goflag.Bool("rewrite", false, "write docs/containers.md anew")

const containersHead = `# Containers

A task with ` + "`driver = \"docker\"` (or `podman`, or `containerd`" + `, which are the same here) runs in a container. What follows are the keys of its
` + "`config`" + ` block: those of Nomad's Docker driver. They are checked when the job is submitted; a key that does not exist is an error that
names the nearest one that does. Every text may hold ` + "`${…}`" + `, which is filled in on the node.

    task "server" {
      driver = "docker"
      config {
        image = "docker.io/library/nginx:1.27"
        ports = ["http"]
      }
    }

Keys with a *node's setting* ask for more than a container has by itself. A node refuses them, in whole or for the values that the
meaning names, unless its agent's configuration says so:

    drivers {
      containerd {
        allow_privileged = true             # privileged; the node's processes, shared memory, name, cgroups
        allow_caps       = ["net_raw"]      # that cap_add may name, or "all"
        allow_devices    = ["/dev/dri/*"]
        allow_unconfined = true             # without seccomp, AppArmor, or the masks over /proc
        volumes { enabled = true }          # host paths as volumes and mounts
      }
    }

Nomad's ` + "`plugin \"docker\" { config { … } }`" + ` means the same. Constraints find such nodes by ` + "`${attr.driver.docker.privileged.enabled}`" + ` and
` + "`${attr.driver.docker.volumes.enabled}`" + `.
`

const containersTail = `
## Keys that are refused

Ignoring these would give a job something else than it asks for, so they are errors that say what to write instead:

%s
These change nothing here, and are a warning:

%s
## Where images come from

An image that was [imported into the cluster](images.md) comes from the machines that have it. Any other comes from its registry. All
the keys below stand in ` + "`drivers { containerd { … } }`" + `; [configuration.md](configuration.md) lists them.

- **Mirrors** (` + "`registry \"docker.io\" { mirrors = [\"mirror.example.com:5000\"] }`" + `) are asked first, in their order, then the registry. One that
  is away, fails, or does not have the image is passed over; one that hangs or gives wrong bytes comes last from then on.
- **Plain HTTP** is spoken to registries on the loopback interface and to those that the configuration names, to no other.
- **Logins**: the task's ` + "`auth`" + `, for the image's own registry; the ` + "`username` and `password`" + ` of the agent's registry block; the file that
  ` + "`docker login`" + ` writes (` + "`auth { config = … }`" + `, read anew each time) with its credential helpers; the helper for everything else. A login goes
  to the host that it is for, never to one that a registry redirects to.
- **Retries**: a registry that is busy, breaks off or gives damaged bytes is asked again, up to 8 times with growing pauses or when it says
  (` + "`Retry-After`" + `). What has come is kept, for the next start of the task too. When no byte comes for ` + "`pull_activity_timeout`" + ` (2 minutes) the connection counts as dead. A
  missing image, a refused login or an image for other processors is an error at once.
- **Shared**: tasks that want the same image at the same time wait for one download, which shows in each task's events.
- **Again**: an image that is on the node is used as it is. ` + "`latest`" + ` and ` + "`force_pull`" + ` ask the registry at each start; if that fails, ` + "`latest`" + `
  goes on with what is there, ` + "`force_pull`" + ` does not.
- **Removal**: with ` + "`gc { image = true }`" + ` images go that no container was made of for ` + "`image_delay`" + `, and the longest unused ones when the disk
  is fuller than ` + "`client { gc_disk_usage_threshold }`" + `. Never one in use, one just asked for or being fetched, or an imported one. Downloads
  that were given up go after two hours.
`

// containersPage is docs/containers.md, by the tables.
func containersPage() string {
	var b strings.Builder
	b.WriteString(containersHead)
	for _, part := range []struct {
		title   string
		entries []optionEntry
	}{{"The program", programOptions()}, {"The image", imageOptions()}, {"Files and devices", fileOptions()}, {"Network and names", networkOptions()},
		{"Rights", rightOptions()}, {"Limits", limitOptions()}, {"Terminal and output", terminalOptions()}} {
		fmt.Fprintf(&b, "\n## %s\n\n| key | takes | when not given | meaning | node's setting |\n|---|---|---|---|---|\n", part.title)
		for _, e := range part.entries {
			needs := ""
			if e.needs != "" {
				needs = "`" + e.needs + "`"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", e.key, e.takes, e.preset, strings.ReplaceAll(e.meaning, "|", `\|`), needs)
		}
		b.WriteString("\n```hcl\n")
		for _, e := range part.entries {
			b.WriteString(e.example + "\n")
		}
		b.WriteString("```\n")
	}
	var refused, ignored strings.Builder
	for _, r := range refusedOptions() {
		to := &refused
		if r.harmless {
			to = &ignored
		}
		fmt.Fprintf(to, "- `%s`: %s.\n", r.key, strings.ReplaceAll(r.why, "|", `\|`))
	}
	fmt.Fprintf(&b, containersTail, refused.String(), ignored.String())
	return b.String()
}

// TestContainersPage keeps docs/containers.md equal to the table of keys.
func TestContainersPage(t *testing.T) {
	const path = "../../docs/containers.md"
	if *rewrite {
		if err := os.WriteFile(path, []byte(containersPage()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != containersPage() {
		t.Errorf("%s is stale: go test ./runtime/containerd -run ContainersPage -rewrite", path)
	}
}

// TestWhatNodesMustAllow holds the page's last column against the nodes' policy, both ways.
func TestWhatNodesMustAllow(t *testing.T) {
	asks := map[string]string{ // for what a node does not allow by itself
		"privileged": `true`, "cap_add": `["net_raw"]`, "devices": `[{"host_path": "/dev/null"}]`, "security_opt": `["seccomp=unconfined"]`,
		"volumes": `["/etc:/x"]`, "mount": `[{"type": "bind", "source": "/etc", "target": "/x"}]`,
		"mounts": `[{"type": "bind", "source": "/etc", "target": "/x"}]`, "pid_mode": `"host"`, "ipc_mode": `"host"`, "uts_mode": `"host"`, "cgroupns": `"host"`,
	}
	for _, e := range optionTable() {
		if (e.needs != "") != (asks[e.key] != "") {
			t.Errorf("%s needs %q, and this test asks for %q", e.key, e.needs, asks[e.key])
			continue
		}
		if e.needs == "" {
			continue
		}
		o, err := decodeOptions(parseConfig(t, fmt.Sprintf(`{"image": "x", %q: %s}`, e.key, asks[e.key])))
		if err != nil {
			t.Fatal(err)
		}
		if err := (Policy{}).refuse(o); err == nil || !strings.Contains(err.Error(), "config."+e.key+":") || !strings.Contains(err.Error(), e.needs) {
			t.Errorf("%s: %v, want it to name %s", e.key, err, e.needs)
		}
	}
}
