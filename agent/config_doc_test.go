package agent

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the pages of docs that are made from tables anew")

// TestConfigurationPage keeps docs/configuration.md equal to the table of keys.
func TestConfigurationPage(t *testing.T) {
	const path = "../docs/configuration.md"
	var b strings.Builder
	b.WriteString(`# Configuration

An agent reads HCL or JSON files and directories (` + "`--config`" + `, repeatable, later ones win), then the environment, then its flags. Names are
those of Nomad where it has the concept. This page is written from the table that the agent reads; ` + "`drover config validate`" + `
checks a file.

| key | flag | environment | meaning |
|---|---|---|---|
`)
	code := func(prefix, s string) string {
		if s == "" {
			return ""
		}
		return "`" + prefix + s + "`"
	}
	for _, k := range ConfigKeys() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", code("", k.Path), code("--", k.Flag), code("", k.Env), strings.ReplaceAll(k.Meaning, "|", `\|`))
	}
	live := liveKeys()
	for i := range live {
		live[i] = code("", live[i])
	}
	fmt.Fprintf(&b, reloadProse, strings.Join(live, ", "))
	b.WriteString(deviceProse)
	b.WriteString("\nExamples: `dist/drover.hcl` for three machines that are servers and run work, and `dist/examples` for a laptop, a server, a machine that\nruns work, and a server in production.\n")
	if *rewrite {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != b.String() {
		t.Errorf("%s is stale: go test ./agent -run ConfigurationPage -rewrite", path)
	}
}

// TestLiveKeysExist guards the list of what Reload changes.
func TestLiveKeysExist(t *testing.T) {
	for _, path := range liveKeys() {
		if !slices.ContainsFunc(ConfigKeys(), func(k ConfigKey) bool { return k.Path == path }) {
			t.Errorf("%s is no key", path)
		}
	}
}

const reloadProse = `
## Changing it while the agent runs

SIGHUP (` + "`systemctl reload drover`" + `) has the agent read its files, environment and flags anew. These take effect at once: %s. The log names
what has changed, and at level warn what has changed in the files and needs a restart of the agent; a restart stops nothing that runs. A
file that is wrong is refused with its error in the log, and the old configuration stays; ` + "`drover_config_reloads_total`" + ` counts both.
An agent that runs on a terminal takes SIGHUP for the terminal's end, and ends.

## The log

The log goes to standard error, where systemd's journal keeps it. ` + "`log_json = false`" + ` writes lines for people, ` + "`true`" + ` one JSON object a line:

` + "```text" + `
2026-05-04T10:11:12.345Z [INFO]  drover.client: node registered: node=m1 id=8f3c2a10-… generation=1
{"@level":"info","@message":"node registered","@module":"drover.client","@timestamp":"2026-05-04T10:11:12.345678Z","generation":1,"id":"8f3c2a10-…","node":"m1"}
` + "```" + `

` + "`@level`, `@message`, `@module` and `@timestamp`" + ` are always there, the rest are the values of the message, under the same names in both formats. The
message itself is constant: what varies is in the values. ` + "`drover monitor`" + ` shows any agent's log from anywhere, at any level.
`

const deviceProse = `
## Devices

What tasks may ask for with a device block is found on the machine, where that is possible without a vendor's program: GPUs of Nvidia
by their driver, other GPUs by the kernel's render nodes (` + "`/dev/dri/renderD*`" + `), and ` + "`/dev/kvm`, `/dev/fuse`, `/dev/net/tun`, `/dev/vhost-net`" + `,
which any number of tasks may have at a time. ` + "`drover node status NODE`" + ` lists them. ` + "`client { detect_devices = false }`" + ` offers none of those.
Others, or the same ones with other names and attributes, are written down:

` + "```hcl" + `
client {
  device "acme/accelerator/x100" {    # vendor/type/name
    ids        = ["x0", "/dev/acme1"] # instances; one that is a path under /dev brings that device node
    paths      = ["/dev/acmectl"]     # device nodes that every task with one of them gets
    attributes = { memory = "40 GiB" }  # for constraints on ${device.attr.memory}
    shared     = false                # true: any number of tasks may have an instance at a time

    instance "x2" {
      paths = ["/dev/acme2"]
    }

    env {
      ACME_VISIBLE = "{ids}" # the instances that the task has, separated by commas
    }
  }
}
` + "```" + `

An instance whose device node is not there is unhealthy and given to nobody. Containers get the device nodes at their own paths; tasks of
the exec driver see the machine's. Every task finds its instances in ` + "`DROVER_DEVICE_TYPE`" + ` (` + "`DROVER_DEVICE_GPU`" + `), and those with GPUs
of Nvidia in ` + "`NVIDIA_VISIBLE_DEVICES`" + `.
`
