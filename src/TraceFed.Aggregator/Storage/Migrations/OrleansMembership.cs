namespace TraceFed.Aggregator.Storage.Migrations;

/// <summary>The tables in which Orleans keeps the members of its cluster, and the statements that it looks up by name there.</summary>
/// <remarks>
/// Names, columns and parameters are the contract of <c>Microsoft.Orleans.Clustering.AdoNet</c>; the statements are ours. A
/// membership changes only together with the table's version: one statement, both rows or none, and the number of rows is the answer.
/// </remarks>
internal static class OrleansMembership
{
    public const string Script = """
        CREATE TABLE orleansquery (querykey varchar(64) PRIMARY KEY, querytext varchar(8000) NOT NULL);
        CREATE TABLE orleansmembershipversiontable (
            deploymentid varchar(150) PRIMARY KEY,
            timestamp timestamptz(3) NOT NULL DEFAULT now(),
            version integer NOT NULL DEFAULT 0);
        CREATE TABLE orleansmembershiptable (
            deploymentid varchar(150) NOT NULL REFERENCES orleansmembershipversiontable (deploymentid),
            address varchar(45) NOT NULL,
            port integer NOT NULL,
            generation integer NOT NULL,
            siloname varchar(150) NOT NULL,
            hostname varchar(150) NOT NULL,
            status integer NOT NULL,
            proxyport integer NULL,
            suspecttimes varchar(8000) NULL,
            starttime timestamptz(3) NOT NULL,
            iamalivetime timestamptz(3) NOT NULL,
            PRIMARY KEY (deploymentid, address, port, generation));
        INSERT INTO orleansquery VALUES
        ('GatewaysQueryKey',
         'SELECT address, proxyport, generation FROM orleansmembershiptable WHERE deploymentid = @DeploymentId AND status = @Status AND proxyport > 0'),
        ('MembershipReadRowKey',
         'SELECT v.deploymentid, m.address, m.port, m.generation, m.siloname, m.hostname, m.status, m.proxyport, m.suspecttimes, m.starttime, m.iamalivetime, v.version
          FROM orleansmembershipversiontable v LEFT JOIN orleansmembershiptable m
            ON m.deploymentid = v.deploymentid AND m.address = @Address AND m.port = @Port AND m.generation = @Generation
          WHERE v.deploymentid = @DeploymentId'),
        ('MembershipReadAllKey',
         'SELECT v.deploymentid, m.address, m.port, m.generation, m.siloname, m.hostname, m.status, m.proxyport, m.suspecttimes, m.starttime, m.iamalivetime, v.version
          FROM orleansmembershipversiontable v LEFT JOIN orleansmembershiptable m ON m.deploymentid = v.deploymentid
          WHERE v.deploymentid = @DeploymentId'),
        ('InsertMembershipVersionKey',
         'WITH made AS (INSERT INTO orleansmembershipversiontable (deploymentid) VALUES (@DeploymentId) ON CONFLICT DO NOTHING RETURNING 1)
          SELECT count(*)::integer FROM made'),
        ('UpdateIAmAlivetimeKey',
         'UPDATE orleansmembershiptable SET iamalivetime = @IAmAliveTime
          WHERE deploymentid = @DeploymentId AND address = @Address AND port = @Port AND generation = @Generation'),
        ('InsertMembershipKey',
         'WITH step AS (UPDATE orleansmembershipversiontable SET timestamp = now(), version = version + 1
                        WHERE deploymentid = @DeploymentId AND version = @Version
                          AND NOT EXISTS (SELECT 1 FROM orleansmembershiptable WHERE deploymentid = @DeploymentId AND address = @Address AND port = @Port AND generation = @Generation)
                        RETURNING deploymentid),
               made AS (INSERT INTO orleansmembershiptable (deploymentid, address, port, generation, siloname, hostname, status, proxyport, starttime, iamalivetime)
                        SELECT deploymentid, @Address, @Port, @Generation, @SiloName, @HostName, @Status, @ProxyPort, @StartTime, @IAmAliveTime FROM step RETURNING 1)
          SELECT count(*)::integer FROM made'),
        ('UpdateMembershipKey',
         'WITH step AS (UPDATE orleansmembershipversiontable SET timestamp = now(), version = version + 1
                        WHERE deploymentid = @DeploymentId AND version = @Version
                          AND EXISTS (SELECT 1 FROM orleansmembershiptable WHERE deploymentid = @DeploymentId AND address = @Address AND port = @Port AND generation = @Generation)
                        RETURNING deploymentid),
               made AS (UPDATE orleansmembershiptable m SET status = @Status, suspecttimes = @SuspectTimes, iamalivetime = @IAmAliveTime FROM step
                        WHERE m.deploymentid = step.deploymentid AND m.address = @Address AND m.port = @Port AND m.generation = @Generation RETURNING 1)
          SELECT count(*)::integer FROM made'),
        ('DeleteMembershipTableEntriesKey',
         'DELETE FROM orleansmembershiptable WHERE deploymentid = @DeploymentId; DELETE FROM orleansmembershipversiontable WHERE deploymentid = @DeploymentId'),
        ('CleanupDefunctSiloEntriesKey',
         'DELETE FROM orleansmembershiptable WHERE deploymentid = @DeploymentId AND iamalivetime < @IAmAliveTime AND status <> 3');
        """;
}
