package agent

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/state"
)

// DeviceConfig is one device block of the client block: devices that the machine offers beside those found on it.
type DeviceConfig struct {
	Name       string // "vendor/type/name"
	Shared     bool   // any number of tasks may have an instance at a time
	Paths      []string
	Attributes map[string]string
	Env        map[string]string
	Instances  []DeviceInstanceConfig
}

// DeviceInstanceConfig is one instance of a device block.
type DeviceInstanceConfig struct {
	ID    string
	Paths []string
}

// labelledBlocks are the blocks that may be there several times, by path, and who decodes them.
func labelledBlocks() map[string]func(*decoder, *hcl.Block) {
	return map[string]func(*decoder, *hcl.Block){
		"client.device": (*decoder).device, "plugin": (*decoder).plugin, "drivers.containerd.registry": (*decoder).registry,
	}
}

// device decodes a device block. The same device in a later file replaces it.
func (d *decoder) device(block *hcl.Block) {
	dev := DeviceConfig{Name: block.Labels[0]}
	attrs, blocks := d.inside(block.Body, []string{"shared", "paths", "ids", "attributes", "env"}, "attributes", "env", "instance")
	ids := []string{}
	d.take(attrs, "shared", &dev.Shared)
	d.take(attrs, "paths", &dev.Paths)
	d.take(attrs, "ids", &ids)
	d.take(attrs, "attributes", &dev.Attributes)
	d.take(attrs, "env", &dev.Env)
	for _, id := range ids {
		dev.Instances = append(dev.Instances, DeviceInstanceConfig{ID: id})
	}
	for _, b := range blocks {
		switch b.Type {
		case "attributes":
			d.pairs(b.Body, &dev.Attributes)
		case "env":
			d.pairs(b.Body, &dev.Env)
		case "instance":
			in := DeviceInstanceConfig{ID: b.Labels[0]}
			attrs, _ := d.inside(b.Body, []string{"paths"})
			d.take(attrs, "paths", &in.Paths)
			dev.Instances = append(dev.Instances, in)
		}
	}
	list := slices.DeleteFunc(slices.Clone(d.cfg.Client.Devices), func(o DeviceConfig) bool { return o.Name == dev.Name })
	d.cfg.Client.Devices = append(list, dev)
	d.cfg.origin["client.device."+dev.Name] = place(block.DefRange)
}

// inside returns what a block holds; names that it may not have are said.
func (d *decoder) inside(body hcl.Body, attributes []string, blocks ...string) (hcl.Attributes, hcl.Blocks) {
	s := &hcl.BodySchema{}
	for _, name := range attributes {
		s.Attributes = append(s.Attributes, hcl.AttributeSchema{Name: name})
	}
	for _, name := range blocks {
		b := hcl.BlockHeaderSchema{Type: name}
		if name == "instance" {
			b.LabelNames = []string{"id"}
		}
		s.Blocks = append(s.Blocks, b)
	}
	content, diags := body.Content(s)
	d.report(diags)
	if content == nil {
		return nil, nil
	}
	blocksLeft := slices.DeleteFunc(content.Blocks, func(b *hcl.Block) bool { // JSON gives what may be attribute or block as both
		_, both := content.Attributes[b.Type]
		return both
	})
	return content.Attributes, blocksLeft
}

// take decodes one attribute, if it is there.
func (d *decoder) take(attrs hcl.Attributes, name string, into any) {
	attr := attrs[name]
	if attr == nil {
		return
	}
	v, diags := attr.Expr.Value(nil)
	if diags.HasErrors() {
		d.report(diags[:1])
		return
	}
	if err := assign(into, v); err != nil {
		d.problem(attr.Expr.Range(), "%s %v", name, err)
	}
}

// pairs decodes a map that is written as a block.
func (d *decoder) pairs(body hcl.Body, into *map[string]string) {
	attrs, diags := body.JustAttributes()
	d.report(diags)
	for _, name := range slices.Sorted(attributeNames(attrs)) {
		v, diags := attrs[name].Expr.Value(nil)
		if diags.HasErrors() {
			d.report(diags[:1])
			continue
		}
		if err := assign(into, cty.ObjectVal(map[string]cty.Value{name: v})); err != nil {
			d.problem(attrs[name].Expr.Range(), "%s %v", name, err)
		}
	}
}

// HostDevice is the device as the node offers it. Instances without paths of their own, in a device without any, are paths.
func (c DeviceConfig) HostDevice() runtime.HostDevice {
	parts := append(strings.SplitN(c.Name, "/", 3), "", "", "")
	h := runtime.HostDevice{
		NodeDevice: state.NodeDevice{Vendor: parts[0], Type: parts[1], Name: parts[2], Shared: c.Shared, Attributes: c.Attributes},
		Paths:      c.Paths, InstPaths: map[string][]string{}, Env: c.Env,
	}
	for _, in := range c.Instances {
		h.Instances = append(h.Instances, state.DeviceInstance{ID: in.ID, Healthy: true})
		h.InstPaths[in.ID] = in.Paths
		if len(in.Paths) == 0 && strings.HasPrefix(in.ID, "/dev/") {
			h.InstPaths[in.ID] = []string{in.ID}
		}
	}
	return h
}

// devices says what is wrong with the device blocks.
func (k *checker) devices() {
	var offered []state.NodeDevice
	for _, dev := range k.c.Client.Devices {
		path := "client.device." + dev.Name
		if strings.Count(dev.Name, "/") != 2 {
			k.fail(path, "want a label \"vendor/type/name\"")
			continue
		}
		if len(dev.Instances) == 0 {
			k.fail(path, "has no instance: write ids = [...], or instance \"ID\" { paths = [...] }")
		}
		h := dev.HostDevice()
		offered = append(offered, h.NodeDevice)
		for _, paths := range append([][]string{h.Paths}, slices.Collect(maps.Values(h.InstPaths))...) {
			for _, p := range paths {
				if !strings.HasPrefix(p, "/dev/") || strings.Contains(p, "..") {
					k.fail(path, "want paths below /dev, not %q", p)
				}
			}
		}
		for name := range dev.Env {
			if name == "" || strings.ContainsAny(name, "=\x00") {
				k.fail(path, "%q is not a name of an environment variable", name)
			}
		}
	}
	// The servers' own rules: an agent that they would refuse is told here, with the place.
	n := state.Node{ID: "n", Name: "n", Datacenter: "d", NodePool: "default", Resources: state.NodeResources{Devices: offered}}
	if err := n.Validate(); err != nil {
		k.errs = append(k.errs, fmt.Errorf("client.%w", err))
	}
	if _, err := runtime.ParseCores(k.c.Client.Reserved.Cores); err != nil {
		k.fail("client.reserved.cores", "%v", err)
	}
}
