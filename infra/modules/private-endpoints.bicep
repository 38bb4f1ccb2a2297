// A private address for every store, and the names that lead to it.

param token string
param location string
param tags object
param networkName string
param subnetId string
param hubsId string
param hostStorageId string
param dataStorageId string
param cosmosId string
param vaultId string
param dataExplorerId string
param siteId string

var storage = environment().suffixes.storage

var wanted = filter(
  [
    { name: 'hubs', id: hubsId, group: 'namespace', zone: 'privatelink.servicebus.windows.net' }
    { name: 'host-blob', id: hostStorageId, group: 'blob', zone: 'privatelink.blob.${storage}' }
    { name: 'host-queue', id: hostStorageId, group: 'queue', zone: 'privatelink.queue.${storage}' }
    { name: 'host-table', id: hostStorageId, group: 'table', zone: 'privatelink.table.${storage}' }
    { name: 'data-blob', id: dataStorageId, group: 'blob', zone: 'privatelink.blob.${storage}' }
    { name: 'cosmos', id: cosmosId, group: 'Sql', zone: 'privatelink.documents.azure.com' }
    { name: 'vault', id: vaultId, group: 'vault', zone: 'privatelink.vaultcore.azure.net' }
    { name: 'explorer', id: dataExplorerId, group: 'cluster', zone: 'privatelink.${location}.kusto.windows.net' }
    { name: 'site', id: siteId, group: 'sites', zone: 'privatelink.azurewebsites.net' }
  ],
  each => !empty(each.id)
)
var zones = union(map(wanted, each => each.zone), [])

resource network 'Microsoft.Network/virtualNetworks@2024-05-01' existing = {
  name: networkName
}

resource zone 'Microsoft.Network/privateDnsZones@2024-06-01' = [
  for name in zones: {
    name: name
    location: 'global'
    tags: tags
  }
]

resource link 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [
  for (name, index) in zones: {
    parent: zone[index]
    name: 'to-${networkName}'
    location: 'global'
    tags: tags
    properties: { registrationEnabled: false, virtualNetwork: { id: network.id } }
  }
]

resource endpoint 'Microsoft.Network/privateEndpoints@2024-05-01' = [
  for each in wanted: {
    name: 'pe-${each.name}-${token}'
    location: location
    tags: tags
    properties: {
      subnet: { id: subnetId }
      privateLinkServiceConnections: [
        { name: each.name, properties: { privateLinkServiceId: each.id, groupIds: [each.group] } }
      ]
    }
  }
]

resource names 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2024-05-01' = [
  for (each, index) in wanted: {
    parent: endpoint[index]
    name: 'default'
    properties: {
      privateDnsZoneConfigs: concat(
        [{ name: each.name, properties: { privateDnsZoneId: zone[indexOf(zones, each.zone)].id } }],
        // A cluster's ingestion queues, blobs and tables answer under the names of storage.
        each.name != 'explorer' ? [] : map(
          ['blob', 'queue', 'table'],
          kind => { name: kind, properties: { privateDnsZoneId: resourceId('Microsoft.Network/privateDnsZones', 'privatelink.${kind}.${storage}') } }
        )
      )
    }
  }
]
