// One landing zone of FlockIQ: a resource group that holds everything one business unit runs.
//
// Parameters say what a zone may choose; one parameter file in zones/ is one zone, and `azd` reads
// main.parameters.json. Nothing here makes a key: everything lets in one identity, by role.

targetScope = 'subscription'

@minLength(1)
@maxLength(40)
@description('Name of the environment; part of every resource name.')
param environmentName string

@minLength(1)
@description('Where everything runs, unless a parameter says otherwise.')
param location string

@description('Tenant in the sense of FlockIQ: part of every key, so that nothing of one is seen by another.')
@minLength(1)
@maxLength(64)
param tenant string = 'default'

@description('Tags of every resource, for costs and owners.')
param tags object = {}

@description('Who deploys: may set secrets and look into the data. Empty gives nobody.')
param principalId string = ''

@description('Whether that is a person or a pipeline.')
@allowed(['User', 'ServicePrincipal', 'Group'])
param principalType string = 'User'

@description('Reach every store by private endpoints alone.')
param vnetEnabled bool = false

@description('Addresses of the private network: a /24 or larger that nothing else uses.')
param vnetAddressPrefix string = '10.60.0.0/24'

@description('Let the internet reach page, API and webhooks; without, only the private network does.')
param appPublic bool = true

@description('Spread over availability zones wherever the service can. Regions without zones need false.')
param zoneRedundant bool = true

@description('Event Hubs: Standard for one unit, Premium where isolation or long retention is wanted.')
@allowed(['Standard', 'Premium'])
param eventHubsSku string = 'Standard'

@description('Throughput units (Standard) or processing units (Premium) to begin with.')
@minValue(1)
@maxValue(40)
param eventHubsCapacity int = 1

@description('Throughput units that Standard may grow to by itself.')
@minValue(1)
@maxValue(40)
param eventHubsMaximumCapacity int = 10

@description('Hours that events wait for their reader: at least 24, at most 168 on Standard.')
@minValue(24)
@maxValue(2160)
param eventHubsRetentionHours int = 72

@description('Partitions of hubs changes, resolved and work. Fixed once state exists: state is kept by partition.')
@minValue(1)
@maxValue(32)
param partitions int = 16

@description('Memory of an instance in MB.')
@allowed([512, 2048, 4096])
param instanceMemoryMB int = 2048

@description('Most instances: the limit of what a zone can cost.')
@minValue(40)
@maxValue(1000)
param maximumInstanceCount int = 40

@description('Instances that always run: {name, instanceCount} with names such as http or function:process_resolved.')
param alwaysReady array = []

@description('How Cosmos DB is paid: by request, or by throughput that scales by itself.')
@allowed(['serverless', 'autoscale'])
param cosmosCapacity string = 'serverless'

@description('Request units a second that the database may grow to, with autoscale.')
@minValue(1000)
param cosmosMaximumThroughput int = 4000

@description('Where history lives: an Azure Data Explorer cluster of this zone, or an Eventhouse in Fabric.')
@allowed(['dataExplorer', 'fabric'])
param analytics string = 'dataExplorer'

@description('Size of the Azure Data Explorer cluster. The Dev sizes are one machine without a service level.')
param dataExplorerSku string = 'Dev(No SLA)_Standard_E2a_v4'

@description('Query URI of the Eventhouse in Fabric.')
param fabricQueryUri string = ''

@description('Ingestion URI of the Eventhouse in Fabric.')
param fabricIngestUri string = ''

@description('Name of the database: the cluster is given one of this name, an Eventhouse has one.')
param analyticsDatabase string = 'flockiq'

@description('Days that logs are kept.')
@minValue(30)
@maxValue(730)
param logRetentionDays int = 90

@description('GB of logs a day after which no more are taken: the limit of what logs can cost.')
@minValue(1)
param logDailyCapGb int = 5

@description('Days that raw history and dead letters are kept.')
@minValue(30)
param historyRetentionDays int = 365

@description('Client id of the Entra app registration that signs people in; without, callers need a function key.')
param authClientId string = ''

@description('Put API Management in front of the API. It reaches the app over the internet: not without appPublic.')
param gatewayEnabled bool = false

@description('Tier of API Management. Consumption is left out: it can not limit rates by caller.')
@allowed(['Developer', 'BasicV2', 'StandardV2', 'Premium'])
param gatewaySku string = 'BasicV2'

@description('Whom API Management writes to about itself.')
param gatewayPublisherEmail string = 'flockiq@example.com'

@description('The address that webhook senders call, if it is not the app\'s own.')
param publicUrl string = ''

@description('How often due slices are sent out (NCRONTAB, six fields).')
param captureSchedule string = '*/5 * * * * *'

@description('How often conditions are held against the clock (NCRONTAB, six fields).')
param clockSchedule string = '*/5 * * * * *'

@description('Settings that config/sources names as {NAME}: addresses, never secrets.')
param sourceSettings object = {}

@description('The folder of the package whose sources, entities and rules this zone runs.')
param configFolder string = 'config'

@description('Secrets that its sources name.')
param secretNames array = []

@description('Values of secrets to write to the vault now. The rest is set by hand, and what is there stays.')
@secure()
param secrets object = {}

@description('Secrets that the app itself renews (refresh tokens that rotate): it may write these and no others.')
param rotatedSecrets array = []

var token = toLower(uniqueString(subscription().id, environmentName, location))
var allTags = union(tags, { 'azd-env-name': environmentName, app: 'flockiq', tenant: tenant })

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: 'rg-flockiq-${environmentName}'
  location: location
  tags: allTags
}

module identity 'modules/identity.bicep' = {
  name: 'identity'
  scope: group
  params: {
    name: 'id-flockiq-${token}'
    location: location
    tags: allTags
  }
}

module telemetry 'modules/telemetry.bicep' = {
  name: 'telemetry'
  scope: group
  params: {
    token: token
    location: location
    tags: allTags
    retentionDays: logRetentionDays
    dailyCapGb: logDailyCapGb
    principalId: identity.outputs.principalId
  }
}

module network 'modules/network.bicep' = if (vnetEnabled) {
  name: 'network'
  scope: group
  params: {
    token: token
    location: location
    tags: allTags
    addressPrefix: vnetAddressPrefix
    workspaceId: telemetry.outputs.workspaceId
  }
}

module hubs 'modules/hubs.bicep' = {
  name: 'hubs'
  scope: group
  params: {
    token: token
    location: location
    tags: allTags
    sku: eventHubsSku
    capacity: eventHubsCapacity
    maximumCapacity: eventHubsMaximumCapacity
    retentionHours: eventHubsRetentionHours
    partitions: partitions
    zoneRedundant: zoneRedundant
    private: vnetEnabled
    principalId: identity.outputs.principalId
    workspaceId: telemetry.outputs.workspaceId
  }
}

module hostStorage 'modules/host-storage.bicep' = {
  name: 'host-storage'
  scope: group
  params: {
    token: token
    location: location
    tags: allTags
    zoneRedundant: zoneRedundant
    private: vnetEnabled
    principalId: identity.outputs.principalId
    workspaceId: telemetry.outputs.workspaceId
  }
}

module dataStorage 'modules/data-storage.bicep' = {
  name: 'data-storage'
  scope: group
  params: {
    token: token
    location: location
    tags: allTags
    zoneRedundant: zoneRedundant
    private: vnetEnabled
    retentionDays: historyRetentionDays
    overflowDays: eventHubsRetentionHours / 24 + 2
    principalId: identity.outputs.principalId
    workspaceId: telemetry.outputs.workspaceId
  }
}

module files 'modules/files.bicep' = {
  name: 'files'
  scope: group
  params: {
    token: token
    location: location
    tags: allTags
    accountName: dataStorage.outputs.name
    inbox: dataStorage.outputs.inbox
    namespaceName: hubs.outputs.name
    hubName: 'files'
    workspaceId: telemetry.outputs.workspaceId
  }
}

module documents 'modules/cosmos.bicep' = {
  name: 'cosmos'
  scope: group
  params: {
    token: token
    location: location
    tags: allTags
    capacity: cosmosCapacity
    maximumThroughput: cosmosMaximumThroughput
    zoneRedundant: zoneRedundant
    private: vnetEnabled
    principalId: identity.outputs.principalId
    workspaceId: telemetry.outputs.workspaceId
  }
}

module vault 'modules/vault.bicep' = {
  name: 'vault'
  scope: group
  params: {
    token: token
    location: location
    tags: allTags
    private: vnetEnabled
    principalId: identity.outputs.principalId
    operatorId: principalId
    operatorType: principalType
    secrets: secrets
    rotatedSecrets: rotatedSecrets
    workspaceId: telemetry.outputs.workspaceId
  }
}

module dataExplorer 'modules/data-explorer.bicep' = if (analytics == 'dataExplorer') {
  name: 'data-explorer'
  scope: group
  params: {
    token: token
    location: location
    tags: allTags
    sku: dataExplorerSku
    databaseName: analyticsDatabase
    zoneRedundant: zoneRedundant
    private: vnetEnabled
    clientId: identity.outputs.clientId
    operatorId: principalId
    operatorType: principalType
    workspaceId: telemetry.outputs.workspaceId
  }
}

module app 'modules/app.bicep' = {
  name: 'app'
  scope: group
  params: {
    token: token
    location: location
    tags: allTags
    tenant: tenant
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    telemetryConnection: telemetry.outputs.connectionString
    hostStorageName: hostStorage.outputs.name
    deploymentContainer: hostStorage.outputs.deploymentContainer
    dataStorageName: dataStorage.outputs.name
    namespaceName: hubs.outputs.name
    hubRetentionHours: eventHubsRetentionHours
    rawDays: historyRetentionDays
    partitions: hubs.outputs.partitions
    cosmosEndpoint: documents.outputs.endpoint
    vaultUri: vault.outputs.uri
    queryUri: analytics == 'dataExplorer' ? dataExplorer.outputs.queryUri : fabricQueryUri
    ingestUri: analytics == 'dataExplorer' ? dataExplorer.outputs.ingestUri : fabricIngestUri
    analyticsDatabase: analyticsDatabase
    zoneRedundant: zoneRedundant
    instanceMemoryMB: instanceMemoryMB
    maximumInstanceCount: maximumInstanceCount
    alwaysReady: alwaysReady
    subnetId: vnetEnabled ? network.outputs.appSubnetId : ''
    public: appPublic
    authClientId: authClientId
    publicUrl: publicUrl
    captureSchedule: captureSchedule
    clockSchedule: clockSchedule
    configFolder: configFolder
    sourceSettings: sourceSettings
    workspaceId: telemetry.outputs.workspaceId
  }
}

module privateEndpoints 'modules/private-endpoints.bicep' = if (vnetEnabled) {
  name: 'private-endpoints'
  scope: group
  params: {
    token: token
    location: location
    tags: allTags
    networkName: network.outputs.name
    subnetId: network.outputs.endpointSubnetId
    hubsId: hubs.outputs.id
    hostStorageId: hostStorage.outputs.id
    dataStorageId: dataStorage.outputs.id
    cosmosId: documents.outputs.id
    vaultId: vault.outputs.id
    dataExplorerId: analytics == 'dataExplorer' ? dataExplorer.outputs.id : ''
    siteId: appPublic ? '' : app.outputs.id
  }
}

module gateway 'modules/gateway.bicep' = if (gatewayEnabled) {
  name: 'gateway'
  scope: group
  params: {
    token: token
    location: location
    tags: allTags
    sku: gatewaySku
    zoneRedundant: zoneRedundant
    publisherEmail: gatewayPublisherEmail
    appUrl: app.outputs.url
    authClientId: authClientId
    workspaceId: telemetry.outputs.workspaceId
  }
}

output AZURE_RESOURCE_GROUP string = group.name
output AZURE_LOCATION string = location
output AZURE_TENANT_ID string = subscription().tenantId
output AZURE_FUNCTION_NAME string = app.outputs.name
output AZURE_KEY_VAULT_NAME string = vault.outputs.name
output FLOCKIQ_URL string = app.outputs.url
output FLOCKIQ_SECRETS string = join(secretNames, ' ')
output FLOCKIQ_API_URL string = gatewayEnabled ? gateway.outputs.url : app.outputs.url
