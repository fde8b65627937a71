package state

import "strings"

// RequestedDevice is a number of devices of one kind that a task asks for.
type RequestedDevice struct {
	Name        string // "type", "vendor/type" or "vendor/type/name"
	Count       int
	Constraints []Constraint `json:",omitempty"` // over ${device.attr.…}, ${device.vendor}, ${device.type}, ${device.model}, ${device.ids}
	Affinities  []Affinity   `json:",omitempty"`
}

// NodeDevice is a kind of device of a node and its instances, by the node's fingerprint.
type NodeDevice struct {
	Vendor     string
	Type       string
	Name       string
	Shared     bool              `json:",omitempty"` // any number of allocations may hold an instance at a time, such as /dev/kvm
	Attributes map[string]string `json:",omitempty"` // keys without the "device.attr." prefix: "memory" = "11264 MiB"
	Instances  []DeviceInstance
}

// DeviceInstance is one device.
type DeviceInstance struct {
	ID                string // one of its kind on the node
	Healthy           bool
	HealthDescription string `json:",omitempty"`
}

// AllocDevice is what an allocation holds for one RequestedDevice.
type AllocDevice struct {
	Vendor string
	Type   string
	Name   string
	IDs    []string // instances, in the order in which they were given
}

// ID is "vendor/type/name", as a job file may write it.
func (d *NodeDevice) ID() string { return d.Vendor + "/" + d.Type + "/" + d.Name }

// ID is "vendor/type/name", as a job file may write it.
func (d *AllocDevice) ID() string { return d.Vendor + "/" + d.Type + "/" + d.Name }

// Matches reports whether a device is of the kind that the request names. Its constraints are another matter.
func (r *RequestedDevice) Matches(d *NodeDevice) bool {
	switch vendor, rest, more := strings.Cut(r.Name, "/"); {
	case !more:
		return d.Type == r.Name
	case strings.Contains(rest, "/"):
		kind, name, _ := strings.Cut(rest, "/")
		return d.Vendor == vendor && d.Type == kind && d.Name == name
	default:
		return d.Vendor == vendor && d.Type == rest
	}
}

// Device finds a kind of device by the ID of one of its instances, with that instance.
func (r *NodeResources) Device(instance string) (*NodeDevice, *DeviceInstance) {
	for i := range r.Devices {
		d := &r.Devices[i]
		for k := range d.Instances {
			if d.Instances[k].ID == instance {
				return d, &d.Instances[k]
			}
		}
	}
	return nil, nil
}

// DeviceRequests are the devices that one copy of the group asks for, in the order of its tasks. PlanRecord.Devices and
// AllocResources.Devices keep that order.
func (g *TaskGroup) DeviceRequests() []RequestedDevice {
	var out []RequestedDevice
	for i := range g.Tasks {
		out = append(out, g.Tasks[i].Resources.Devices...)
	}
	return out
}

// DeviceCount is how many device instances one copy of the group asks for.
func (g *TaskGroup) DeviceCount() int {
	n := 0
	for i := range g.Tasks {
		for k := range g.Tasks[i].Resources.Devices {
			n += g.Tasks[i].Resources.Devices[k].Count
		}
	}
	return n
}
