"""Drives a simulated Hetzner Cloud with the vendor's own Python client.

Arguments: the endpoint, a public SSH key. Prints `done` when everything was as the client expects it.
"""

import sys
from datetime import datetime, timedelta, timezone

from hcloud import APIException, Client
from hcloud.firewalls import Firewall, FirewallResource, FirewallResourceLabelSelector, FirewallRule
from hcloud.images import Image
from hcloud.locations import Location
from hcloud.networks import NetworkSubnet
from hcloud.placement_groups import PlacementGroup
from hcloud.server_types import ServerType
from hcloud.servers import Server
from hcloud.zones import ZoneRecord, ZoneRRSet

endpoint, public_key = sys.argv[1:3]
client = Client(token="python", api_endpoint=endpoint, poll_interval=0.01)


def refused(code, call):
    """Asserts that a call is refused with a code."""
    try:
        call()
    except APIException as error:
        assert error.code == code, f"{error.code} instead of {code}: {error}"
        assert error.correlation_id, "an answer has a correlation id"
        return error
    raise AssertionError(f"{code} was expected")


# the catalogue
small = client.server_types.get_by_name("cx23")
assert small.id == 114 and small.locations[0].available is True, small.locations
assert client.server_types.get_by_name("cx22").locations[0].deprecation is not None
assert client.images.get_by_name_and_architecture("debian-12", "arm").architecture == "arm"
assert [place.name for place in client.locations.get_all()][:3] == ["fsn1", "nbg1", "hel1"]

# keys: unique by name and by fingerprint
key = client.ssh_keys.create(name="me", public_key=public_key, labels={"a": "1"})
assert client.ssh_keys.get_by_fingerprint(key.fingerprint).id == key.id
refused("uniqueness_error", lambda: client.ssh_keys.create(name="other", public_key=public_key))
refused("invalid_input", lambda: client.ssh_keys.create(name="other", public_key="no key"))

# a firewall, a network, a group and a volume, for a server
rule = FirewallRule(direction="in", protocol="tcp", port="22", source_ips=["0.0.0.0/0", "::/0"], description="ssh")
created = client.firewalls.create(name="guard", rules=[rule])
for action in created.actions:
    action.wait_until_finished()
firewall = created.firewall
subnet = NetworkSubnet(type="cloud", network_zone="eu-central", ip_range="10.0.1.0/24")
network = client.networks.create(name="inner", ip_range="10.0.0.0/16", subnets=[subnet])
group = client.placement_groups.create(name="apart", type="spread").placement_group
made = client.volumes.create(name="disk", size=10, location=Location(name="nbg1"), format="ext4")
made.action.wait_until_finished()
volume = made.volume

# a server with all of it
response = client.servers.create(
    name="web-1",
    server_type=ServerType(name="cx23"),
    image=Image(name="debian-12"),
    location=Location(name="nbg1"),
    ssh_keys=[key],
    firewalls=[Firewall(id=firewall.id)],
    networks=[network],
    volumes=[volume],
    placement_group=PlacementGroup(id=group.id),
    labels={"role": "web"},
    user_data="#cloud-config\n",
)
assert response.root_password is None, "a server with a key has no password"
assert response.server.status == Server.STATUS_INIT
response.action.wait_until_finished()
for action in response.next_actions:
    action.wait_until_finished()
server = client.servers.get_by_name("web-1")
assert server.status == Server.STATUS_RUNNING and not server.locked, server.status
assert server.image.name == "debian-12" and server.location.name == "nbg1" and server.primary_disk_size == 40
assert server.public_net.ipv4.ip.startswith("203.0.113."), server.public_net.ipv4.ip
assert server.public_net.ipv6.ip.endswith("/64")
assert server.public_net.firewalls[0].status == "applied"
assert server.private_net[0].ip == "10.0.1.2", server.private_net[0].ip
assert server.volumes[0].id == volume.id and server.placement_group.id == group.id
assert [found.id for found in client.networks.get_member_all(network)] == [server.id]
refused("uniqueness_error", lambda: client.servers.create("web-1", ServerType(name="cx23"), Image(name="debian-12")))
retired = refused("invalid_input", lambda: client.servers.create("old", ServerType(name="cx22"), Image(name="debian-12")))
assert retired.message == "server type 104 is deprecated", retired.message
refused("invalid_input", lambda: client.servers.create("no_host", ServerType(name="cx23"), Image(name="debian-12")))

# labels and lists
server = server.update(labels={"role": "web", "tier": "1"})
for index in range(2, 30):
    crowd = client.servers.create(
        f"web-{index}", ServerType(name="cx23"), Image(name="debian-12"), labels={"role": "crowd"}
    )
for action in crowd.next_actions:
    action.wait_until_finished()
assert len(client.servers.get_all()) == 29
assert len(client.servers.get_all(label_selector="role in (crowd),!tier")) == 28
page = client.servers.get_list(page=2, per_page=10)
assert page.meta.pagination.next_page == 3 and page.meta.pagination.total_entries == 29, page.meta.pagination
assert client.servers.get_list(name="web-1").servers[0].labels["tier"] == "1"
for other in client.servers.get_all(label_selector="role=crowd"):
    other.delete().wait_until_finished()

# power, size, protection
refused("server_not_stopped", lambda: server.change_type(ServerType(name="cx33"), upgrade_disk=False))
server.power_off().wait_until_finished()
server.change_type(ServerType(name="cx33"), upgrade_disk=False).wait_until_finished()
server.reload()
assert server.server_type.name == "cx33" and server.primary_disk_size == 40 and server.status == "running"
server.change_protection(delete=True, rebuild=True).wait_until_finished()
refused("protected", server.delete)
refused("protected", lambda: server.rebuild(Image(name="debian-13")))
server.change_protection(delete=False, rebuild=False).wait_until_finished()
server.rebuild(Image(name="debian-13")).action.wait_until_finished()
server.reload()
assert server.image.name == "debian-13" and server.status == "running"
rescue = server.enable_rescue(type="linux64", ssh_keys=[key.id])
assert rescue.root_password
rescue.action.wait_until_finished()
server.reset().wait_until_finished()
now = datetime.now(timezone.utc)
metrics = server.get_metrics(type=["cpu", "disk"], start=now - timedelta(hours=1), end=now, step=60).metrics
assert len(metrics.time_series["cpu"]["values"]) in (60, 61), metrics.time_series["cpu"]
server.change_dns_ptr(server.public_net.ipv4.ip, "web.example.com").wait_until_finished()
server.shutdown().wait_until_finished()

# addresses move between servers that are off
server.power_off().wait_until_finished()
address = client.primary_ips.get_by_id(server.public_net.primary_ipv4.id)
assert address.auto_delete and address.assignee_type == "server"
refused("must_be_unassigned", address.delete)
address.unassign().wait_until_finished()
address.reload()
assert address.assignee_id is None and address.assignee_type == "unassigned"
address.assign(server.id, "server").wait_until_finished()
address.update(auto_delete=False, name="kept")
server.power_on().wait_until_finished()

# firewalls by server and by label
refused("resource_in_use", firewall.delete)
for action in firewall.set_rules([]):
    action.wait_until_finished()
for action in firewall.remove_from_resources([FirewallResource(type="server", server=server)]):
    action.wait_until_finished()
labelled = FirewallResource(
    type="label_selector", label_selector=FirewallResourceLabelSelector(selector="tier=1")
)
for action in firewall.apply_to_resources([labelled]):
    action.wait_until_finished()
firewall.reload()
assert firewall.applied_to[0].applied_to_resources[0].server.id == server.id
by_hand = FirewallResource(type="server", server=server)
refused("firewall_managed_by_label_selector", lambda: firewall.remove_from_resources([by_hand]))
for action in firewall.remove_from_resources([labelled]):
    action.wait_until_finished()
firewall.reload()
assert firewall.applied_to == [], firewall.applied_to
firewall.delete()

# volumes
volume.detach().wait_until_finished()
volume.resize(20).wait_until_finished()
volume.reload()
assert volume.size == 20 and volume.server is None
volume.delete()

# zones and their records
created = client.zones.create(name="example.com", mode="primary", labels={"a": "1"})
created.action.wait_until_finished()
zone = client.zones.get("example.com")
assert zone.record_count == 4 and zone.status == "ok" and zone.ttl == 3600, zone.record_count
assert zone.authoritative_nameservers.assigned[0] == "hydrogen.ns.hetzner.com."
made = zone.create_rrset(name="www", type="A", records=[ZoneRecord(value="203.0.113.1", comment="one")], ttl=300)
made.action.wait_until_finished()
rrset = zone.get_rrset("www", "A")
assert rrset.id == "www/A" and rrset.ttl == 300 and rrset.records[0].comment == "one", rrset.records
refused("uniqueness_error", lambda: zone.create_rrset(name="www", type="A", records=[ZoneRecord(value="203.0.113.9")]))
refused("invalid_input", lambda: zone.create_rrset(name="t", type="TXT", records=[ZoneRecord(value="not quoted")]))
zone.set_rrset_records(rrset, [ZoneRecord(value="203.0.113.2")]).wait_until_finished()
zone.add_rrset_records(rrset, [ZoneRecord(value="203.0.113.3")]).wait_until_finished()
zone.add_rrset_records(ZoneRRSet(name="new", type="TXT", zone=zone), [ZoneRecord(value='"hello world"')]).wait_until_finished()
zone.update_rrset_records(rrset, [ZoneRecord(value="203.0.113.3", comment="two")]).wait_until_finished()
zone.change_rrset_ttl(rrset, ttl=None).wait_until_finished()
rrset = zone.get_rrset("www", "A")
assert [record.value for record in rrset.records] == ["203.0.113.2", "203.0.113.3"] and rrset.ttl is None
zone.change_rrset_protection(rrset, change=True).wait_until_finished()
refused("protected", lambda: zone.delete_rrset(rrset))
zone.change_rrset_protection(rrset, change=False).wait_until_finished()
zone.remove_rrset_records(rrset, rrset.records).wait_until_finished()
refused("not_found", lambda: zone.get_rrset("www", "A"))
names = sorted(found.id for found in zone.get_rrset_all())
assert names == ["@/NS", "@/SOA", "new/TXT"], names
text = zone.export_zonefile().zonefile
assert "hydrogen.ns.hetzner.com." in text
zone.import_zonefile(text + "mail IN MX 10 mx.example.com. ; by hand\n").wait_until_finished()
assert zone.get_rrset("mail", "MX").records[0].comment == "by hand"
zone.change_protection(delete=True).wait_until_finished()
refused("protected", zone.delete)
zone.change_protection(delete=False).wait_until_finished()
zone.delete().action.wait_until_finished()
refused("not_found", lambda: client.zones.get("example.com"))

# away with it
server.delete().wait_until_finished()
assert client.servers.get_by_name("web-1") is None
kept = client.primary_ips.get_by_name("kept")
assert kept.assignee_id is None, "an address that is not deleted along is free again"
kept.delete()
assert client.primary_ips.get_all() == []
client.ssh_keys.get_by_name("me").delete()
network.delete()
group.delete()
refused("deprecated_api_endpoint", lambda: client.datacenters.get_all())
assert client.load_balancers.get_all() == [] and client.floating_ips.get_all() == []
print("done")
